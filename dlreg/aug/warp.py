"""Distortions that are not affine: perspective, lens, elastic."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dlreg.aug import geometry
from dlreg.aug.base import Augmentation
from dlreg.aug.filters import gaussian
from dlreg.aug.geometry import Interpolation
from dlreg.hyper import Decay, Fraction, NonNegative, Positive


class Perspective(Augmentation):
    """The image is seen from a random side, $$x(r) <- x((A r + b) / (c^T r + 1))$$: each corner moves inward by up to
    `distortion` / 2 of each side; 0 outside.

    As torchvision's RandomPerspective, with corners anywhere instead of on whole pixels,
    https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.RandomPerspective.html
    """

    def __init__(self, *, distortion: Decay, interpolation: Interpolation) -> None:
        self.distortion, self.interpolation = distortion, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Tilt every image."""
        if not self.distortion:
            return x
        inward = torch.rand(len(x), 4, 2, device=x.device, dtype=x.dtype, generator=self.generator) * self.distortion
        return geometry.perspective(x, geometry.own_corners(x) * (1 - inward), self.interpolation)


class Lens(Augmentation):
    """Barrel and pincushion: a point at radius r of the output comes from $$r (1 + k r^2)$$, $k ~ U(-strength, strength)$,
    with $r = 1$ in the corners; 0 outside.

    Wu, Yan, Shan, Dang, Sun (2015), "data augmentation", https://arxiv.org/abs/1501.02876
    """

    def __init__(self, *, strength: Fraction, interpolation: Interpolation) -> None:
        self.strength, self.interpolation = strength, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Look at every image through its own lens."""
        if not self.strength:
            return x
        return geometry.lens(x, self.uniform(x, -self.strength, self.strength), self.interpolation)


class Elastic(Augmentation):
    """Each pixel moves by a smooth random field, $$x(r) <- x(r + alpha d(r))$$: d is $U(-1, 1)$ in both directions,
    convolved with a Gaussian of width sigma, alpha in pixels; 0 outside.

    Simard, Steinkraus, Platt (2003), section 2, https://doi.org/10.1109/ICDAR.2003.1227801 (sigma 4, alpha 34 on MNIST). The
    Gaussian sums to 1 and is cut off at 3 sigma; the field is drawn beyond the border, so that it moves all pixels alike.
    """

    def __init__(self, *, alpha: NonNegative, sigma: Positive, interpolation: Interpolation) -> None:
        self.alpha, self.sigma, self.interpolation = alpha, sigma, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Bend every image."""
        if not self.alpha:
            return x
        radius = math.ceil(3 * self.sigma)
        size = [side + 2 * radius for side in x.shape[-2:]]
        noise = torch.rand(2, len(x), *size, device=x.device, dtype=x.dtype, generator=self.generator) * 2 - 1
        across, down = self.alpha * smooth(noise, radius, self.sigma)
        return geometry.displace(x, across, down, self.interpolation)


def smooth(field: Tensor, radius: int, sigma: float) -> Tensor:
    """Convolve with a Gaussian where it fits: a field `(..., H + 2 radius, W + 2 radius)` becomes `(..., H, W)`."""
    weights = gaussian(radius, torch.full((1,), sigma, device=field.device, dtype=field.dtype)).squeeze(0)
    rows, columns = (_band(weights, field.shape[dim] - 2 * radius) for dim in (-2, -1))
    return rows @ field @ columns.T


def _band(weights: Tensor, side: int) -> Tensor:
    """The convolution as a matrix `(side, side + 2 radius)`: row i holds the weights from column i on."""
    return F.pad(weights, [side - 1] * 2).unfold(0, side + len(weights) - 1, 1).flip(0)
