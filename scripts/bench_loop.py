"""The training loop against a bare hand-written PyTorch loop doing the same work."""

from __future__ import annotations

import functools
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from bench_jax import installed, is_written, jax_loop
from bench_time import timed
from torch import Tensor, nn

from dlreg import ui
from dlreg.config.compose import compose
from dlreg.config.schema import Settings
from dlreg.data.base import Data, Dataset, Split
from dlreg.run import parts
from dlreg.run.allocator import keep_freed_memory
from dlreg.run.fitter import Fitter
from dlreg.run.machine import resolve
from dlreg.run.threads import MACHINE, set_threads

DROPPED = (
    "reg=[dropout,maxnorm]",
    "reg.dropout.input_p=0.2",
    "optimizer=momentum",
    "optimizer.lr=0.1",
    "batch_size=100",
)


@dataclass(frozen=True)
class Case:
    """What is trained: dlreg's words, images of which shape, and how many times as many of them as asked for."""

    words: tuple[str, ...]
    shape: tuple[int, ...] = (1, 28, 28)
    share: float = 1.0


Side = Callable[[Settings, Data], float]  # seconds of an experiment's epochs
Work = tuple[tuple[str, ...], int, int, tuple[int, ...]]  # words, epochs, images and their shape
CASES = {
    "mlp 64-128-64-10": Case(("model=mlp", "model.hidden=[128,64]", "optimizer=adam"), (1, 8, 8)),
    "digits' mlp 64-256-256-10": Case(("model=mlp", "optimizer=adam"), (1, 8, 8)),
    "mlp 784-256-256-10": Case(("model=mlp", "model.hidden=[256,256]", "optimizer=adam")),
    "the same, dropout, max-norm": Case(("model=mlp", "model.hidden=[256,256]", *DROPPED)),
    "mlp 784-800-800-10": Case(("model=mlp", "model.hidden=[800,800]", "optimizer=adam", "batch_size=100"), share=0.3),
    "the same, dropout + max-norm": Case(("model=mlp", "model.hidden=[800,800]", *DROPPED), share=0.3),
    "lenet": Case(("model=lenet", "optimizer=adam"), share=0.3),
    "resnet-8, 32x32": Case(("model=resnet", "model.depth=8", "optimizer=momentum"), (3, 32, 32), share=0.03),
    "resnet-20, 32x32": Case(("model=resnet", "model.depth=20", "optimizer=momentum"), (3, 32, 32), share=0.015),
}


def loop(images: int, epochs: int, rounds: int, only: list[str]) -> None:
    """dlreg with validation, progress and checkpoints, against the better of the bare loop with one thread and with all.

    The bare side is what one would write by hand: tensors in memory, torch's layers, dropout and fused optimizer, classes
    as numbers, sums kept on the device, validation every epoch, max-norm by norm and clamp. The sides take turns, each in
    a process of its own, begun as torch begins: dlreg's threads wait and its memory is kept as a run of `dlreg` has it.
    Where JAX is installed, a last column has its compiled epochs on all cores, without validation.
    """
    print(f"{'images/s, medians':30}{'dlreg':>10}{'bare, 1':>10}{f'bare, {MACHINE}':>10}   ratio to the better")
    bare = {"1": functools.partial(bare_loop, 1), "all": functools.partial(bare_loop, MACHINE)}
    jax = {"jax": jax_loop} if installed() else {}
    with processes({"dlreg": through_dlreg, **bare, **jax}) as sides:
        for name, case in CASES.items():
            if only and not any(word in name for word in only):
                continue
            work = (case.words, epochs, round(images * case.share), case.shape)
            taking_part = [side for side in sides if side != "jax" or is_written(made(*work)[0])]
            for side in taking_part:
                sides[side](work)  # warm up
            rates: dict[str, list[float]] = {side: [] for side in taking_part}
            for _ in range(rounds):
                for side in taking_part:
                    rates[side].append(epochs * len(made(*work)[1].train) / sides[side](work))
            ratios = [a / max(b, c) for a, b, c in zip(rates["dlreg"], rates["1"], rates["all"], strict=True)]
            middle = {side: f"{statistics.median(rate):10,.0f}" for side, rate in rates.items()}
            beside = f"   JAX {middle.pop('jax').strip()}" if "jax" in middle else ""
            print(
                f"{name:30}{''.join(middle.values())}   {statistics.median(ratios):.3f} "
                f"(from {min(ratios):.3f} to {max(ratios):.3f}){beside}",
                flush=True,
            )


@contextmanager
def processes(sides: dict[str, Side]) -> Iterator[dict[str, Callable[[Work], float]]]:
    """Each side in a process of its own, and none but dlreg's told how long its threads wait for each other."""
    with ExitStack() as stack:
        found = {}
        for name, side in sides.items():
            pool = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            with mock.patch.dict(os.environ):
                if name != "dlreg":
                    os.environ.pop("GOMP_SPINCOUNT", None)
                pool.submit(int).result()  # it begins now
            found[name] = functools.partial(_wait, pool, side)
        yield found


def _wait(pool: ProcessPoolExecutor, side: Side, work: Work) -> float:
    return pool.submit(_seconds, side, work).result()


def _seconds(side: Side, work: Work) -> float:
    return side(*made(*work))


@functools.cache
def made(words: tuple[str, ...], epochs: int, images: int, shape: tuple[int, ...]) -> tuple[Settings, Data]:
    """The experiment of a case and its data."""
    settings = resolve(compose([f"epochs={epochs}", "device=cpu", *words]))
    return settings, parts.make_data(settings, fake_images(images, shape))


def fake_images(n: int, shape: tuple[int, ...]) -> Dataset:
    """n images to train on and n / 9 to validate with, of ten classes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (n + n // 9, *shape), dtype=torch.uint8, generator=generator)
    y = torch.arange(len(x)) % 10
    return Dataset(Split(x, y), Split(x[:100], y[:100]), 10)


def fake_mnist(n: int) -> Dataset:
    """The same in MNIST's shape."""
    return fake_images(n, (1, 28, 28))


def through_dlreg(settings: Settings, data: Data) -> float:
    """Seconds of the fit."""
    set_threads(settings, data)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder, ui.Live(True) as live, live.run("bench", settings.epochs) as report:
        live.in_sweep = True  # bars on a terminal, but no lines into this report
        fitter = Fitter(settings, Path(folder), report)
        return timed(lambda: fitter(data))


def bare_loop(threads: int, settings: Settings, data: Data) -> float:
    """Seconds of the same epochs by hand, with so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, train = bare_model(settings, data), data.train
    pixels = train.x[:5000].float() / 255
    over = [0, 2, 3]
    mean, std = pixels.mean(over)[:, None, None], pixels.std(over)[:, None, None]
    bounded = [m.weight for m in model.modules() if isinstance(m, nn.Linear)] if "maxnorm" in settings.reg else []
    c = settings.reg["maxnorm"]["c"] if bounded else 0.0
    lr = settings.optimizer["lr"]
    adam = settings.optimizer["name"] == "adam"

    def unit(x: Tensor) -> Tensor:
        return x.float().div_(255).sub_(mean).div_(std)

    def work() -> None:
        weights = model.parameters()
        optimizer = (
            torch.optim.Adam(weights, lr=lr, fused=True)
            if adam
            else torch.optim.SGD(weights, lr=lr, momentum=0.9, fused=True)
        )
        for _ in range(settings.epochs):
            model.train()
            loss_sum = wrong = 0
            for index in torch.randperm(len(train)).split(settings.batch_size):
                x, y = unit(train.x[index]), train.y[index]
                logits = model(x)
                loss = F.cross_entropy(logits, y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    for w in bounded:
                        w.mul_(c / w.norm(dim=1, keepdim=True).clamp_min(c))
                loss_sum += loss.detach() * len(y)
                wrong += (logits.detach().argmax(1) != y).sum()
            model.eval()
            with torch.no_grad():
                for x, y in zip(data.val.x.split(2000), data.val.y.split(2000), strict=True):
                    logits = model(unit(x))
                    F.cross_entropy(logits, y, reduction="sum").item()
                    (logits.argmax(1) != y).sum().item()
            float(loss_sum), int(wrong)

    as_it_is = functools.partial(mock.patch, new=lambda x: x)  # what one would not think of
    with as_it_is("dlreg.model.resnet.channels_last"), as_it_is("dlreg.model.lenet.channels_last"):
        return timed(work)


def bare_model(settings: Settings, data: Data) -> nn.Module:
    """torch's own layers for fully connected networks, dlreg's classes for convolutional ones, which hold nothing else."""
    if settings.model["name"] != "mlp":
        return parts.make_model(settings, data, 0)[1]
    widths = [data.train.x[0].numel(), *settings.model["hidden"], data.classes]
    rates = settings.reg.get("dropout")
    layers: list[nn.Module] = [nn.Flatten()]
    for i, (n_in, n_out) in enumerate(zip(widths, widths[1:], strict=False)):
        layers += [nn.Dropout(rates["p"] if i else rates["input_p"])] if rates else []
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
