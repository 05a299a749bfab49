"""Pad and crop; crop and enlarge."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlreg.aug import geometry
from dlreg.aug.base import Augmentation
from dlreg.aug.boxes import draw_box, ordered
from dlreg.hyper import Interval, Natural


class Crop(Augmentation):
    """Each image is padded with `padding` zero pixels on every side and cropped back to its size at a random place:
    $$x(r) <- x(r + d)$$, d whole numbers from -`padding` to `padding`.

    He, Zhang, Ren, Sun (2016), section 4.2, https://arxiv.org/abs/1512.03385 (padding 4 on CIFAR)
    """

    def __init__(self, *, padding: Natural) -> None:
        self.padding = padding

    def transform(self, x: Tensor) -> Tensor:
        """Crop every image of the batch at its own place."""
        if not self.padding:
            return x
        top, left = torch.randint(2 * self.padding + 1, (2, len(x)), device=x.device, generator=self.generator)
        height, width = x.shape[-2:]
        windows = F.pad(x, [self.padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
        return windows[torch.arange(len(x), device=x.device), :, top, left]


class ResizedCrop(Augmentation):
    """A rectangle of `area` (from U, as a fraction of the image) and `ratio` (width to height, log-uniform) is cut out at
    a random place and enlarged to the whole image, bilinearly: $$x(r) <- x(c + s * r)$$, c its corner and s its sides as
    fractions of the image's.

    Szegedy et al. (2015), section 6 ("Going deeper"), https://arxiv.org/abs/1409.4842. As in torchvision's RandomResizedCrop,
    ten tries are made for one that fits; an image without any stays whole.
    """

    def __init__(self, *, area: Interval, ratio: Interval) -> None:
        self.area, self.ratio = ordered("resized_crop.area", area, 1), ordered("resized_crop.ratio", ratio)

    def transform(self, x: Tensor) -> Tensor:
        """Cut a rectangle out of every image and enlarge it."""
        if self.area == [1, 1]:
            return x
        return geometry.resized_crop(x, *draw_box(x, self.area, self.ratio, self.generator, otherwise="all"))
