"""The training loop against a bare hand-written PyTorch loop doing the same work."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from dlreg import ui
from dlreg.config.compose import compose
from dlreg.config.schema import Settings
from dlreg.data.base import Dataset, Split
from dlreg.run import parts
from dlreg.run.fitter import Fitter
from dlreg.run.machine import resolve

LOOPS = {
    "mlp 784-256-256-10": ("model=mlp", "model.hidden=[256,256]"),
    "lenet": ("model=lenet",),
}


def loop(images: int, epochs: int, rounds: int) -> None:
    """Adam, batch 128, MNIST-shaped images, validation every epoch; dlreg also shows progress and saves checkpoints."""
    dataset = fake_mnist(images)
    for name, words in LOOPS.items():
        settings = resolve(compose(["optimizer=adam", f"epochs={epochs}", "device=cpu", *words]))
        data = parts.make_data(settings, dataset)
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


def fake_mnist(n: int) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (n + n // 9, 1, 28, 28), dtype=torch.uint8, generator=generator)
    y = torch.randint(10, (len(x),), generator=generator)
    return Dataset(Split(x, y), Split(x[:100], y[:100]), 10)


def through_dlreg(settings: Settings, data: object) -> float:
    with tempfile.TemporaryDirectory() as folder, ui.Live(True) as live, live.run("bench", settings.epochs) as report:
        live.in_sweep = True  # bars on a terminal, but no lines into this report
        fitter = Fitter(settings, Path(folder), report)
        return timed(lambda: fitter(data))


def bare_loop(settings: Settings, data: object) -> float:
    """What one would write by hand: tensors in memory, the same model, torch's fused Adam, loss and error summed."""
    torch.manual_seed(0)
    model = parts.make_model(settings, data, 0)

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
