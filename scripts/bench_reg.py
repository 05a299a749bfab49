"""What each regularizer adds to a training step, as a ratio to reg=none."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.data.base import Dataset
from dlreg.data.normalize import to_unit
from dlreg.run import parts
from dlreg.run.loop import train_step

WITHIN = {"l2": 1.15, "weight_decay": 1.15, "maxnorm": 1.15, "label_smoothing": 1.15, "dropout": 1.25}
LOUD = {
    "l1_late": ["reg.l1_late.after=0"],
    "maxnorm": ["reg.maxnorm.c=1"],
    "norm_ball": ["reg.norm_ball.c=1"],
}  # let them act
STEPS = 10  # between two looks at the clock


def reg(dataset: Dataset, rounds: int, only: list[str]) -> None:
    """784-800-800-10, batch 128, Adam, 2 threads. The options take turns; each one's shortest turn counts."""
    torch.set_num_threads(2)
    words = ["none", *(only or [word for word in options("reg") if word != "none"])]
    steps = {word: stepper(dataset, word) for word in words}
    best = dict.fromkeys(words, float("inf"))
    for _ in range(rounds):
        for word, step in steps.items():
            started = time.perf_counter()
            for _ in range(STEPS):
                step()
            best[word] = min(best[word], (time.perf_counter() - started) / STEPS)
    print(f"none {best['none'] * 1e3:.2f} ms a step (the shortest of {rounds} turns of {STEPS}); as a ratio to it:")
    for word in words[1:]:
        ratio = best[word] / best["none"]
        target = WITHIN.get(word)
        note = "" if target is None else f"   goal {target}: {'met' if ratio <= target else 'MISSED'}"
        print(f"{word:18} {ratio:.3f}{note}")


def stepper(dataset: Dataset, word: str) -> Callable[[], None]:
    """One training step of one option, warmed up."""
    words = [f"reg={word}", *LOUD.get(word, [])]
    settings = compose(["model.hidden=[800,800]", "optimizer=adam", "device=cpu", *words])
    data = parts.make_data(settings, dataset)
    made = parts.make_parts(settings, data, 0)
    context = made.context
    context.begin_epoch(0)
    context.lr = settings.optimizer["lr"]
    made.model.train()
    x, y = to_unit(data.train.x[:128]), torch.eye(10)[data.train.y[:128]]

    def step() -> None:
        context.progress = context.progress._replace(step=context.progress.step + 1, total_steps=1_000_000)
        train_step(made, x, y)

    for _ in range(5):
        step()
    return step
