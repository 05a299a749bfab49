"""Translation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.aug.geometry import uniform, warp
from dlreg.hyper import NonNegative
from dlreg.reg.base import Regularizer


class Translate(Regularizer):
    """Each image is shifted by U(-pixels, pixels) along both axes, bilinearly, 0 outside.

    Simard, Steinkraus, Platt (2003), section 2, https://doi.org/10.1109/ICDAR.2003.1227801
    """

    stream = "augment"

    def __init__(self, *, pixels: NonNegative) -> None:
        self.pixels = pixels

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Shift every image by its own amount."""
        if not self.pixels:
            return x, y
        right = uniform(x, -self.pixels, self.pixels, self.generator)
        down = uniform(x, -self.pixels, self.pixels, self.generator)
        one, zero = torch.ones_like(right), torch.zeros_like(right)
        return warp(x, one, zero, zero, one, right, down), y
