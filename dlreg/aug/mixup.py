"""Mixing samples in pairs, and their labels with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.aug.base import Augmentation, select
from dlreg.aug.boxes import mask
from dlreg.hyper import Fraction, NonNegative


class Mixup(Augmentation):
    """$$x <- lam x_i + (1 - lam) x_j; y <- lam y_i + (1 - lam) y_j$$ with $lam ~ Beta(alpha, alpha)$ per sample.

    Zhang, Cisse, Dauphin, Lopez-Paz (2018), eq. 1, https://arxiv.org/abs/1710.09412. j is a random permutation of the batch.
    The authors' code draws one lam per batch; a lecture that calls the weight itself alpha means lam. Samples need not be
    images.
    """

    needs_unit = False

    def __init__(self, *, alpha: NonNegative) -> None:
        self.alpha = alpha

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mix every sample with a partner."""
        if not self.alpha:
            return x, y
        lam = beta(len(x), self.alpha, self.host_generator).to(x)
        other = torch.randperm(len(x), device=x.device, generator=self.generator)
        return mix(x, x[other], lam), mix(y, y[other], lam)


class CutMix(Augmentation):
    """A box of image j is pasted into image i: $$y <- lam y_i + (1 - lam) y_j$$, where $1 - lam$ is the box's true
    share of the area.

    Yun et al. (2019), section 3.1, https://arxiv.org/abs/1905.04899. The box has the sides $W sqrt(1 - l)$ and
    $H sqrt(1 - l)$ with $l ~ Beta(alpha, alpha)$ and a uniform centre, and is clipped at the border, after which lam is
    set anew. Half sides are rounded down, as in the authors' code. Box and partner are drawn per image, and an image
    is mixed with probability p; the authors draw one box per batch and mix a batch with probability p.
    """

    def __init__(self, *, alpha: NonNegative, p: Fraction) -> None:
        self.alpha, self.p = alpha, p

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Paste a part of a partner into every image."""
        self.images(x)
        if not self.alpha or not self.p:
            return x, y
        lam = beta(len(x), self.alpha, self.host_generator).to(x)
        lam = torch.where(self.uniform(x, 0, 1) < self.p, lam, 1.0)
        other = torch.randperm(len(x), device=x.device, generator=self.generator)
        row, column = (torch.randint(n, (len(x),), device=x.device, generator=self.generator) for n in x.shape[-2:])
        return paste(x, y, other, (row, column), lam)


def paste(x: Tensor, y: Tensor, other: Tensor, centre: tuple[Tensor, Tensor], lam: Tensor) -> tuple[Tensor, Tensor]:
    """CutMix with its parameters, each `(N,)`: the partner, the box's centre (row, column), and lam before clipping."""
    row, column = centre
    half_height, half_width = (((1 - lam).sqrt() * (side / 2)).long() for side in x.shape[-2:])
    box = mask(x, row - half_height, column - half_width, 2 * half_height, 2 * half_width)
    share = box.to(y.dtype).mean((1, 2, 3))
    return select(box, x[other], x), mix(y, y[other], 1 - share)


def beta(n: int, alpha: float, generator: torch.Generator) -> Tensor:
    """n draws from Beta(alpha, alpha) as G / (G + G'), with G and G' from Gamma(alpha).

    log G = log Gamma(alpha + 1) + log(U) / alpha in distribution (Marsaglia & Tsang 2000, section 6), so that a small alpha
    does not underflow.
    """
    shape = torch.full((2, n), alpha + 1, dtype=torch.float64)
    uniform = torch.rand((2, n), dtype=torch.float64, generator=generator).clamp_min(1e-300)
    first, second = torch._standard_gamma(shape, generator=generator).log() + uniform.log() / alpha
    return torch.sigmoid(first - second)


def mix(a: Tensor, b: Tensor, lam: Tensor) -> Tensor:
    """lam a + (1 - lam) b, with one lam per sample."""
    return torch.lerp(b, a, lam.to(a.dtype).view(-1, *[1] * (a.dim() - 1)))
