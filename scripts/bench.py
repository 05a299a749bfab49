"""Speed, as ratios of things timed alternately in one process. Absolute figures depend on the machine; ratios travel.

scripts/bench loop    dlreg's training loop against a bare hand-written PyTorch loop doing the same work
scripts/bench optim   a step of each of dlreg's own optimizers against one of torch's foreach Adam, on an MLP
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from dlreg import experiment, ui
from dlreg.compose import compose
from dlreg.config import Settings, build
from dlreg.data.base import Dataset, Split
from dlreg.reg.base import Chain
from dlreg.train import train_step

LOOPS = {
    "mlp 784-256-256-10": ("model=mlp", "model.hidden=[256,256]"),
    "lenet": ("model=lenet",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loop", "optim"])
    parser.add_argument("--images", type=int, default=20_000, help="training images per epoch")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if given.what == "loop":
        loop(given.images, given.epochs, given.rounds)
    else:
        optim(given.rounds)


def loop(images: int, epochs: int, rounds: int) -> None:
    """Adam, batch 128, MNIST-shaped images, validation every epoch; dlreg also shows progress and saves checkpoints."""
    dataset = fake_mnist(images)
    for name, words in LOOPS.items():
        settings = experiment.resolve(compose(["optimizer=adam", f"epochs={epochs}", "device=cpu", *words]))
        data = experiment._data(settings, dataset, 0)
        through_dlreg(settings, data), bare_loop(settings, data)  # warm up
        rates: dict[str, list[float]] = {"dlreg": [], "bare": []}
        for _ in range(rounds):
            for side, work in (("dlreg", through_dlreg), ("bare", bare_loop)):
                seconds = work(settings, data)
                rates[side].append(epochs * len(data.train) / seconds)
        ratios = [a / b for a, b in zip(rates["dlreg"], rates["bare"], strict=True)]
        print(
            f"{name:20} dlreg {statistics.median(rates['dlreg']):9,.0f} images/s   "
            f"bare {statistics.median(rates['bare']):9,.0f} images/s   "
            f"ratio {statistics.median(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f})"
        )


OWN = (
    ("adam", "bias_correction=false"),
    ("amsgrad", "bias_correction=false"),
    ("momentum", "form=lecture"),
    ("nesterov", "form=lecture"),
    ("adagrad", "form=lecture"),
    ("rmsprop", "form=lecture"),
    ("lion",),
    ("muon",),
    ("sam",),
    ("svrg",),
    ("adahessian",),
    ("random_search", "trials=1"),
    ("annealing", "trials=1"),
    ("evolution", "pairs=1"),
)


def optim(rounds: int, steps: int = 10) -> None:
    """784-256-256-10, batch 128, one CPU thread: a training step, and the update alone with the gradients at hand."""
    torch.set_num_threads(1)
    data = fake_mnist(1000).train
    x, y = data.x[:128].float() / 255, torch.eye(10)[data.y[:128]]

    def prepared(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> tuple[Callable, Callable]:
        torch.manual_seed(0)
        layers = [torch.nn.Flatten(), *(f for a, b in ((784, 256), (256, 256)) for f in linear_relu(a, b))]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(256, 10))
        optimizer = make(list(model.parameters()))
        train_step(model, optimizer, Chain({}), x, y)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        return (
            lambda: [optimizer.step() for _ in range(steps)],
            lambda: [train_step(model, optimizer, Chain({}), x, y) for _ in range(steps)],
        )

    adam_update, adam_step = prepared(functools.partial(torch.optim.Adam, lr=1e-3, foreach=True))
    for name, *keys in OWN:
        node = compose([f"optimizer={name}", *(f"optimizer.{key}" for key in keys)]).optimizer
        update, step = prepared(build("optimizer", node))
        alone = "" if name in SEVERAL_PASSES else f"update alone {ratio(update, adam_update, rounds)}   "
        print(f"{' '.join([name, *keys]):32} training step {ratio(step, adam_step, rounds)}   {alone}".rstrip())


SEVERAL_PASSES = ("sam", "svrg", "adahessian", "random_search", "annealing", "evolution")


def linear_relu(inputs: int, outputs: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    return torch.nn.Linear(inputs, outputs), torch.nn.ReLU()


def ratio(work: Callable[[], object], reference: Callable[[], object], rounds: int) -> str:
    """The median ratio of processor times taken in turns: they suffer less than the clock's from other jobs."""
    ratios = [timed(work, time.process_time) / timed(reference, time.process_time) for _ in range(rounds)]
    return f"{statistics.median(ratios):5.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"


def fake_mnist(n: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (n + n // 9, 1, 28, 28), dtype=torch.uint8, generator=generator)
    y = torch.randint(10, (len(x),), generator=generator)
    return Dataset(Split(x, y), Split(x[:100], y[:100]), 10)


def through_dlreg(settings: Settings, data: object) -> float:
    with tempfile.TemporaryDirectory() as folder, ui.Live(True) as live, live.run("bench", settings.epochs) as report:
        live.in_sweep = True  # bars on a terminal, but no lines into this report
        fitter = experiment.Fitter(settings, Path(folder), report)
        return timed(lambda: fitter(data))


def bare_loop(settings: Settings, data: object) -> float:
    """What one would write by hand: tensors in memory, the same model, torch's fused Adam, loss and error summed."""
    torch.manual_seed(0)
    model = experiment.make_model(settings, data, 0)

    def work() -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        for _ in range(settings.epochs):
            model.train()
            loss_sum = wrong = 0
            for index in torch.randperm(len(data.train)).split(settings.batch_size):
                x, y = data.train.x[index].float() / 255, data.train.y[index]
                logits = model(x)
                loss = F.cross_entropy(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss_sum += loss.detach() * len(y)
                wrong += (logits.detach().argmax(1) != y).sum()
            model.eval()
            with torch.no_grad():
                for x, y in zip(data.val.x.split(2000), data.val.y.split(2000), strict=True):
                    logits = model(x.float() / 255)
                    F.cross_entropy(logits, y, reduction="sum").item()
                    (logits.argmax(1) != y).sum().item()
            float(loss_sum), int(wrong)

    return timed(work)


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    work()
    return clock() - started


if __name__ == "__main__":
    main()
