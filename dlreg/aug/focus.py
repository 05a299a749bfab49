"""Blurred and sharpened images."""

from __future__ import annotations

from torch import Tensor

from dlreg.aug import filters
from dlreg.aug.base import Augmentation, select
from dlreg.aug.boxes import ordered
from dlreg.hyper import Fraction, Interval, Natural, NonNegative


class Blur(Augmentation):
    """With probability p an image is convolved with a Gaussian of width s from U(sigma), cut off at `radius` pixels:
    $$x(r) <- sum_d k(d) x(r - d), k(d) = exp(-||d||^2 / (2 s^2)) / Z$$, where Z makes the weights sum to 1.

    Chen, Kornblith, Norouzi, Hinton (2020), appendix A, https://arxiv.org/abs/2002.05709 (p = 0.5, sigma from 0.1 to 2, a
    window of a tenth of the side)
    """

    def __init__(self, *, p: Fraction, sigma: Interval, radius: Natural) -> None:
        self.p, self.sigma, self.radius = p, ordered("blur.sigma", sigma), radius

    def transform(self, x: Tensor) -> Tensor:
        """Blur a part of the batch."""
        if not self.radius:
            return x
        blurred = filters.blur(x, self.radius, self.uniform(x, *self.sigma))
        return select(self.choose(x, self.p), blurred, x)


class Sharpen(Augmentation):
    """$$x <- s + f (x - s)$$, with s the smoothed image and $f ~ U(1, 1 + strength)$: what smoothing takes away is added again.

    PIL's ImageEnhance.Sharpness with f >= 1, https://pillow.readthedocs.io/en/stable/reference/ImageEnhance.html
    """

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Sharpen every image."""
        return filters.sharpness(x, self.uniform(x, 1, 1 + self.strength)) if self.strength else x


class EdgeEnhance(Augmentation):
    """$$x <- x + f |gradient|$$, with Sobel's gradient of the grey image and $f ~ U(0, strength)$, clamped to [0, 1].

    Taylor & Nitschke (2017), "edge enhancement", https://arxiv.org/abs/1708.06020: contours intensified by means of the Sobel
    detector. The gradient is 1 for a step from black to white.
    """

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Draw every image's contours."""
        return filters.edge_enhance(x, self.uniform(x, 0, self.strength)) if self.strength else x
