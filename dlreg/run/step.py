"""One update: the network, the loss, the eight verbs of a regularizer. It knows no technique by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from dlreg.context import Context
from dlreg.data.task import Classes
from dlreg.passes import frozen_statistics
from dlreg.reg.base import Chain


@dataclass
class Parts:
    """What one fit works with, each part set up and on the device."""

    model: nn.Module
    optimizer: Optimizer
    reg: Chain
    context: Context
    autocast: AbstractContextManager[Any] = field(default_factory=nullcontext)
    criterion: Callable[..., Tensor] = F.cross_entropy  # (outputs, targets, reduction="mean") -> the loss
    missed: Callable[[Tensor, Tensor], Tensor] = Classes.missed  # (outputs, targets) -> what is counted over an epoch


def train_step(parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One update on x `(N, ...)` and targets y `(N, K)`, class probabilities or values.

    An optimizer says with `order` which derivatives it uses: 0 none, 1 (unless it says otherwise) gradients, 2 gradients
    that can be differentiated again. Returns the objective, the loss without penalties and the number of errors (or
    the squared errors) before the update, still on the device.
    """
    model, optimizer, reg = parts.model, parts.optimizer, parts.reg
    x, y = reg.batch(model, x, y)
    order = getattr(optimizer, "order", 1)
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def closure() -> Tensor:  # SAM calls it twice, L-BFGS many times
        optimizer.zero_grad()
        with frozen_statistics(model) if seen else nullcontext():
            logits, loss, objective = forward(parts, x, y)
        if order > 1:
            _backward_with_graph(objective, model)
        elif order:
            objective.backward()
        if order:
            reg.gradient(model)
        if not seen:
            seen.append((objective.detach(), loss.detach(), parts.missed(logits.detach(), y)))
        return objective

    optimizer.step(closure)  # type: ignore[arg-type]  # torch's annotation says float, its optimizers take a tensor
    if not seen:
        raise TypeError(f"{type(optimizer).__name__}.step does not call the closure that it is given")
    reg.project(model)
    return seen[0]


def forward(parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits, the mean loss, and the objective: the loss with the penalties."""
    with parametrize.cached():  # one draw of a noisy weight, however often it is asked for
        with parts.autocast:
            logits = parts.model(x)
        logits = logits.to(y.dtype)
        loss = parts.criterion(logits, y)
        return logits, loss, loss + parts.reg.penalty(parts.model, x, y, logits)


def _backward_with_graph(objective: Tensor, model: nn.Module) -> None:
    """`backward` whose gradients can be differentiated again; torch warns of leaks when `backward` itself does it."""
    params = [p for p in model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(objective, params, create_graph=True, allow_unused=True)
    for p, grad in zip(params, grads, strict=True):
        p.grad = grad
