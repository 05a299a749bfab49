"""Cutout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import Natural
from dlreg.reg.base import Regularizer


class Cutout(Regularizer):
    """A square of `size` pixels, centred anywhere on the image, is replaced by the training set's mean pixel.

    DeVries & Taylor (2017), section 3.2, https://arxiv.org/abs/1708.04552. The square is clipped at the border, as there.
    """

    stream = "augment"

    def __init__(self, *, size: Natural) -> None:
        self.size = size

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a square out of every image."""
        inside = [self._inside(x, dim) for dim in (2, 3)]
        square = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)
        return torch.where(square.unsqueeze(1), self.context.pixel_mean, x), y

    def _inside(self, x: Tensor, dim: int) -> Tensor:
        """(N, side): which rows (or columns) the square covers: [centre - size // 2, centre - size // 2 + size)."""
        side = x.shape[dim]
        centre = torch.randint(side, (len(x), 1), device=x.device, generator=self.generator)
        offset = torch.arange(side, device=x.device) - (centre - self.size // 2)
        return (offset >= 0) & (offset < self.size)
