"""Noise that stays within what an image can show; reg=input_noise does not."""

from __future__ import annotations

import torch
from torch import Tensor

from dlreg.aug.base import Augmentation
from dlreg.hyper import Fraction, NonNegative


class GaussianNoise(Augmentation):
    """$$x <- x + N(0, sigma^2)$$ in every pixel and channel, clamped to [0, 1].

    Goodfellow, Bengio, Courville (2016), section 7.5, https://www.deeplearningbook.org/contents/regularization.html
    """

    def __init__(self, *, sigma: NonNegative) -> None:
        self.sigma = sigma

    def transform(self, x: Tensor) -> Tensor:
        """Make every image noisy."""
        if not self.sigma:
            return x
        noise = torch.randn(x.shape, device=x.device, dtype=x.dtype, generator=self.generator)
        return torch.add(x, noise, alpha=self.sigma).clamp_(0, 1)


class SaltPepper(Augmentation):
    """Each pixel, with probability p, becomes black or white (all channels), either as likely: $$x(r) <- b, b = 0 or 1$$.

    Gonzalez & Woods, Digital Image Processing, section 5.2; https://en.wikipedia.org/wiki/Salt-and-pepper_noise
    """

    def __init__(self, *, p: Fraction) -> None:
        self.p = p

    def transform(self, x: Tensor) -> Tensor:
        """Strew grains over every image."""
        u = torch.rand(len(x), 1, *x.shape[2:], device=x.device, dtype=x.dtype, generator=self.generator)
        return torch.where(u < self.p, (u < self.p / 2).to(x.dtype), x)
