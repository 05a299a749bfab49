"""Gradient clipping."""

from __future__ import annotations

from torch import nn

from dlreg.hyper import Positive
from dlreg.reg.base import Regularizer


class ClipNorm(Regularizer):
    """$$g <- g min(1, c / ||g||)$$, the norm over all parameters together.

    Pascanu, Mikolov, Bengio (2013), Algorithm 1, https://arxiv.org/abs/1211.5063
    """

    def __init__(self, *, c: Positive) -> None:
        self.c = c

    def gradient(self, model: nn.Module) -> None:
        """Rescale all gradients by one factor."""
        nn.utils.clip_grad_norm_(model.parameters(), self.c)


class ClipValue(Regularizer):
    """$$g_i <- min(max(g_i, -c), c)$$, each component by itself: unlike clipping by norm it turns the direction.

    Goodfellow, Bengio, Courville (2016), Section 10.11.1, after Mikolov (2012),
    https://www.deeplearningbook.org/contents/rnn.html
    """

    def __init__(self, *, c: Positive) -> None:
        self.c = c

    def gradient(self, model: nn.Module) -> None:
        """Clamp every gradient."""
        nn.utils.clip_grad_value_(model.parameters(), self.c)
