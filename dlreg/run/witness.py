"""In a rehearsal: whoever returns what it must not is told by name, where a run would fail later, elsewhere, or not at all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.reg.base import Regularizer
from dlreg.run.step import Parts


def witnessed(parts: Parts, model: str, outputs: int) -> None:
    """Look at what the network gives first, and at what each technique makes of a batch and adds to the loss.

    Raises, in the fit that follows:
        UserError: naming the option, what it must return, and what it returned.
    """

    def first(module: nn.Module, given: tuple[Tensor, ...], found: Any) -> None:
        handle.remove()
        if not isinstance(found, Tensor) or found.shape != (len(given[0]), outputs):
            raise UserError(f"model={model} must give (N, {outputs}), a row for each sample; it gave {_told(found)}")

    handle = parts.model.register_forward_hook(first)
    for part in parts.reg.parts.values():
        if type(part).batch is not Regularizer.batch:
            part.batch = functools.partial(_batch, part.name, part.batch)  # type: ignore[method-assign]
        if type(part).penalty is not Regularizer.penalty:
            part.penalty = functools.partial(_penalty, part.name, part.penalty)  # type: ignore[method-assign]


def _batch(name: str, batch: Callable[..., Any], *given: Any) -> Any:
    found = batch(*given)
    if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(t, Tensor) for t in found)):
        raise UserError(f"{name}.batch must return the batch, (x, y); it returned {_told(found)}")
    return found


def _penalty(name: str, penalty: Callable[..., Any], *given: Any) -> Any:
    found = penalty(*given)
    if not (isinstance(found, int | float) or (isinstance(found, Tensor) and found.numel() == 1)):
        raise UserError(f"{name}.penalty must return a number; it returned {_told(found)}")
    return found


def _told(found: Any) -> str:
    return f"a tensor {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
