"""The network without a hidden layer."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlreg.model.blocks import Norm


class Linear(nn.Module):
    """Softmax regression: $$logits = W x + b$$. Hastie, Tibshirani, Friedman (2009), 4.4,
    https://hastie.su.domains/ElemStatLearn

    There is no hidden layer, so `norm` has nothing to normalize.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> logits (N, K)."""
        return self.layers(x)
