"""The optimizer of a model without a weight."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.optimizer.base import Closure, evaluate


class Idle(Optimizer):
    """Takes part in the loop and changes nothing: one pass over the training set says all that there is to say."""

    order: ClassVar[int] = 0  # it takes no gradient
    epochs: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__([Parameter(torch.zeros(0))], {"lr": 0.0})  # torch refuses an optimizer of nothing

    def remark(self, batches: int) -> str:
        """What there is to set, without effect."""
        return (
            "the model keeps its training samples and has nothing to train: optimizer, schedule, init, epochs, "
            "batch_size and the seed of a fit change nothing"
        )

    def stride(self, p: Tensor, group: dict[str, Any]) -> float:
        """It never moves."""
        return 0.0

    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """The loss."""
        return evaluate(closure)
