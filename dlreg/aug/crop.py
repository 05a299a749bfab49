"""Pad and crop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.hyper import Natural
from dlreg.reg.base import Regularizer


class Crop(Regularizer):
    """Each image is padded with `padding` zero pixels on every side and cropped back to its size at a random place.

    He, Zhang, Ren, Sun (2016), section 4.2, https://arxiv.org/abs/1512.03385 (padding 4 on CIFAR)
    """

    stream = "augment"

    def __init__(self, *, padding: Natural) -> None:
        self.padding = padding

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Crop every image of the batch at its own place."""
        if not self.padding:
            return x, y
        top, left = torch.randint(2 * self.padding + 1, (2, len(x)), device=x.device, generator=self.generator)
        height, width = x.shape[-2:]
        windows = F.pad(x, [self.padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(x), device=x.device), :, top, left], y
