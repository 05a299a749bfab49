"""The training loop: epochs, checkpoints, validation. It knows no technique by name."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dlreg.context import Progress
from dlreg.data.base import Data
from dlreg.errors import Diverged
from dlreg.passes import frozen_statistics
from dlreg.reg.base import Fitted, History
from dlreg.run.batches import batches, gathered, steps_per_epoch
from dlreg.run.evaluate import Tally, validate
from dlreg.run.linear import linear_problem
from dlreg.run.result import figure_of
from dlreg.run.step import Parts, forward, train_step

CHECK = 32  # steps between two looks at the losses: each look waits for the device


@dataclass(frozen=True)
class Loop:
    """How long and in what pieces to train."""

    epochs: int
    batch_size: int
    sampler: str
    schedule: Callable[[Progress], float]
    steps: int | None = None  # stop after so many updates, wherever in an epoch; the schedule still counts on `epochs`


class Report(Protocol):
    """Who is told how the fit goes."""

    def step(self, done: float, loss: float) -> None:
        """`done` epochs (with the fraction), the latest loss."""

    def epoch(self, row: dict[str, Any]) -> None:
        """One row of the history."""


class Checkpoint(Protocol):
    """Where the state of a fit is kept after an epoch."""

    def due(self) -> bool:
        """Whether so much was done since the last `save` that it should not be lost."""

    def load(self) -> dict[str, Any] | None:
        """What `save` was last given, if there is anything."""

    def save(self, state: dict[str, Any]) -> None:
        """Keep it."""


class Nobody:
    """Is told how a fit goes that nobody watches, and keeps nothing of it."""

    def step(self, done: float, loss: float) -> None:
        """Nothing to say."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing to say."""

    def due(self) -> bool:
        """Nothing is kept."""
        return False

    def load(self) -> None:
        """Nothing was kept."""

    def save(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


def fit(parts: Parts, data: Data, loop: Loop, report: Report, checkpoint: Checkpoint) -> Fitted:
    """Train until the last epoch or until a technique stops, saving the state between epochs; continue what was saved.

    Raises:
        Diverged: a loss, a weight or a running statistic is no longer finite.
    """
    model, optimizer, reg = parts.model, parts.optimizer, parts.reg
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    equip(parts, data, loop)
    history: History = []
    best: dict[str, Tensor] | None = None
    stopped = False
    if saved := checkpoint.load():
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        reg.states = saved["states"]
        history, best, stopped = saved["history"], saved["best"], saved["stopped"]
    per_epoch = steps_per_epoch(len(data.train), loop.batch_size)
    limit = loop.epochs * per_epoch if loop.steps is None else loop.steps
    while len(history) * per_epoch < limit and not stopped:
        row = run_epoch(parts, data, loop, history, report)
        history.append(row)
        if _improved(history):
            best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        stopped = reg.end_epoch(model, history)
        if stopped or checkpoint.due():
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "states": reg.states}
            checkpoint.save(state | {"history": history, "best": best, "stopped": stopped})
        report.epoch(row)
    best_val = _with_weights(model, best)  # before `finish`, which may change what the weights are called
    return Fitted(reg.finish(model), best_val, history, per_epoch, criterion=parts.criterion)


def equip(parts: Parts, data: Data, loop: Loop) -> None:
    """Give the optimizer what it asks for besides the gradients of batches."""
    optimizer = parts.optimizer
    if hasattr(optimizer, "whole"):
        optimizer.whole = functools.partial(whole_gradient, parts, data, loop)
    if hasattr(optimizer, "problem"):
        optimizer.problem = functools.partial(linear_problem, parts, data)


def run_epoch(parts: Parts, data: Data, loop: Loop, history: History, report: Report) -> dict[str, Any]:
    """Train the epoch after those of `history` and validate. Returns its row."""
    model, optimizer, context = parts.model, parts.optimizer, parts.context
    epoch = len(history)
    val_losses = tuple(row["val_loss"] for row in history) if len(data.val) else None
    context.begin_epoch(epoch)
    started = time.perf_counter()
    model.train()
    task = data.task
    order = list(batches(loop.sampler, data.train.y, loop.batch_size, context))
    first_step, total = epoch * len(order), loop.epochs * len(order)
    tally = Tally(first_step, parts.missed)
    left = None if loop.steps is None else loop.steps - first_step
    for i, (x, y) in enumerate(gathered(data, order[:left])):
        context.progress = Progress(first_step + i, len(order), total, val_losses)
        _set_rate(optimizer, loop.schedule(context.progress))
        context.lr = optimizer.param_groups[0]["lr"]
        tally.add(*train_step(parts, x, y))
        if len(tally.losses) == CHECK:
            report.step(epoch + (i + 1) / len(order), tally.flush())
    tally.flush()
    _check_finite(model, context.progress.step)
    trained = time.perf_counter() - started
    val_loss, val_figure = validate(model, data, parts.criterion, parts.autocast) if len(data.val) else (None, None)
    if val_loss is not None and not abs(val_loss) < float("inf"):
        raise Diverged(context.progress.step)
    return {
        "epoch": epoch + 1,
        "train_loss": tally.loss / tally.samples,
        f"train_{task.figure}": tally.missed / tally.samples,
        "val_loss": val_loss,
        f"val_{task.figure}": val_figure,
        "lr": context.lr,
        "seconds": time.perf_counter() - started,
        "images_per_second": tally.samples / trained,
    }


def whole_gradient(parts: Parts, data: Data, loop: Loop) -> None:
    """Leave in `p.grad` the gradient over the whole training set, for an optimizer that has a place for it (`whole`)."""
    parts.optimizer.zero_grad()
    order = list(batches("cyclic", data.train.y, loop.batch_size, parts.context))
    samples = sum(map(len, order))
    for x, y in gathered(data, order):
        x, y = parts.reg.batch(parts.model, x, y)
        with frozen_statistics(parts.model):
            _, _, objective = forward(parts, x, y)
        (objective * (len(y) / samples)).backward()
    parts.reg.gradient(parts.model)


def _improved(history: History) -> bool:
    """Whether the last epoch has the lowest validation error, or squared error, so far; the loss decides between equals."""
    figure = f"val_{figure_of(history[-1], 'val_')}"
    if history[-1][figure] is None:
        return False
    *before, last = [(row[figure], row["val_loss"]) for row in history]
    return not before or last < min(before)


def _with_weights(model: nn.Module, weights: dict[str, Tensor] | None) -> nn.Module | None:
    if weights is None:
        return None
    other = copy.deepcopy(model)
    other.load_state_dict(weights)
    return other


def _set_rate(optimizer: Optimizer, multiplier: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * multiplier


def _check_finite(model: nn.Module, step: int) -> None:
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    if tensors and not bool(torch.stack([n.double() for n in torch._foreach_norm(tensors)]).isfinite().all()):
        raise Diverged(step)
