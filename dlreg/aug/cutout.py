"""Cutout and random erasing: parts of an image are hidden."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dlreg.aug.base import Augmentation
from dlreg.aug.boxes import draw_box, mask, ordered
from dlreg.hyper import Fraction, Interval, Natural


class Cutout(Augmentation):
    """A square A of `size` pixels, centred anywhere on the image, is replaced by the training set's mean pixel m:
    $$x(r) <- m for r in A$$.

    DeVries & Taylor (2017), section 3.2, https://arxiv.org/abs/1708.04552. The square is clipped at the border, as there.
    """

    def __init__(self, *, size: Natural) -> None:
        self.size = size

    def transform(self, x: Tensor) -> Tensor:
        """Cut a square out of every image."""
        top, left = (
            torch.randint(side, (len(x),), device=x.device, generator=self.generator) - self.size // 2
            for side in x.shape[-2:]
        )
        return torch.where(mask(x, top, left, self.size, self.size), self.context.pixel_mean, x)


class Erasing(Augmentation):
    """With probability p a rectangle A of `area` (fraction of the image, uniform) and `ratio` (height to width, log-uniform)
    is filled with random values, or with the training set's mean pixel: $$x(r) <- u(r) for r in A$$.

    Zhong, Zheng, Kang, Li, Yang (2020), algorithm 1, https://arxiv.org/abs/1708.04896. The paper draws the ratio uniformly
    and tries until a rectangle fits; here, as in torchvision, it is log-uniform and ten tries are made.
    """

    revision = 2

    def __init__(self, *, p: Fraction, area: Interval, ratio: Interval, fill: Literal["random", "mean"]) -> None:
        self.p, self.fill = p, fill
        self.area, (low, high) = ordered("erasing.area", area, 1), ordered("erasing.ratio", ratio)
        self.ratio = [1 / high, 1 / low]  # of width to height, as `draw_box` has it

    def transform(self, x: Tensor) -> Tensor:
        """Erase a rectangle of a part of the batch."""
        chosen = self.choose(x, self.p)
        box = mask(x, *draw_box(x, self.area, self.ratio, self.generator, otherwise="nothing"))
        if self.fill == "mean":
            return torch.where(chosen & box, self.context.pixel_mean, x)
        noise = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=self.generator)
        return torch.where(chosen & box, noise, x)
