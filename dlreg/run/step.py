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

# (parts, x, y) -> the outputs, the mean loss, and the objective: the loss with the penalties
Passes = Callable[["Parts", Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


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
    stack: Passes | None = None  # instead of `with_gradient`, where the derivative is written out


def train_step(parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One update on x `(N, ...)` and targets y `(N, K)`, class probabilities or values.

    An optimizer says with `order` which derivatives it uses: 0 none, 1 (unless it says otherwise) gradients, 2 gradients
    that can be differentiated again. Returns the objective, the loss without penalties and the outputs before the update,
    and the targets they were held against, all still on the device.
    """
    model, optimizer, reg = parts.model, parts.optimizer, parts.reg
    x, y = reg.batch(model, x, y)
    order = getattr(optimizer, "order", 1)
    passes = (forward, parts.stack or with_gradient, with_graph)[order]
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def closure() -> Tensor:  # SAM calls it twice, L-BFGS many times
        optimizer.zero_grad()
        with frozen_statistics(model) if seen else nullcontext():
            outputs, loss, objective = passes(parts, x, y)
        if order:
            reg.gradient(model)
        if not seen:
            seen.append((objective.detach(), loss.detach(), outputs.detach()))
        return objective

    optimizer.step(closure)  # type: ignore[arg-type]  # torch's annotation says float, its optimizers take a tensor
    if not seen:
        raise TypeError(f"{type(optimizer).__name__}.step does not call the closure that it is given")
    reg.project(model)
    return *seen[0], y


def forward(parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs, the mean loss, and the objective: the loss with the penalties."""
    with parametrize.cached():  # one draw of a noisy weight, however often it is asked for
        with parts.autocast:
            outputs = parts.model(x)
        outputs = outputs.to(y.dtype)
        loss = parts.criterion(outputs, y)
        return outputs, loss, loss + parts.reg.penalty(parts.model, x, y, outputs)


def with_gradient(parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`forward`, and the gradient of the objective in every `p.grad`."""
    outputs, loss, objective = forward(parts, x, y)
    objective.backward()
    return outputs, loss, objective


def with_graph(parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same, with gradients that can be differentiated again; torch warns of leaks when `backward` itself does it."""
    outputs, loss, objective = forward(parts, x, y)
    params = [p for p in parts.model.parameters() if p.requires_grad]
    grads = torch.autograd.grad(objective, params, create_graph=True, allow_unused=True)
    for p, grad in zip(params, grads, strict=True):
        p.grad = grad
    return outputs, loss, objective
