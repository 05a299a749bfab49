"""Mirror images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import Fraction
from dlreg.reg.base import Regularizer


class Flip(Regularizer):
    """Each image is mirrored left to right with probability p.

    Krizhevsky, Sutskever, Hinton (2012), section 4.1, https://papers.nips.cc/paper/4824
    """

    stream = "augment"

    def __init__(self, *, p: Fraction) -> None:
        self.p = p

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mirror a part of the batch."""
        chosen = torch.rand(len(x), device=x.device, generator=self.generator) < self.p
        return torch.where(chosen.view(-1, 1, 1, 1), x.flip(-1), x), y
