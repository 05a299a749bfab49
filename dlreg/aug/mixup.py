"""Mixup."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import NonNegative
from dlreg.reg.base import Regularizer


class Mixup(Regularizer):
    """x <- lam x_i + (1 - lam) x_j, y <- lam y_i + (1 - lam) y_j with lam ~ Beta(alpha, alpha) per sample.

    Zhang, Cisse, Dauphin, Lopez-Paz (2018), eq. 1, https://arxiv.org/abs/1710.09412. j is a random permutation of the batch.
    The authors' code draws one lam per batch; a lecture that calls the weight itself alpha means lam.
    """

    stream = "augment"

    def __init__(self, *, alpha: NonNegative) -> None:
        self.alpha = alpha

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mix every sample with a partner."""
        if not self.alpha:
            return x, y
        lam = beta(len(x), self.alpha, self.generator).to(x.dtype)
        other = torch.randperm(len(x), device=x.device, generator=self.generator)
        return _mix(x, x[other], lam), _mix(y, y[other], lam)


def beta(n: int, alpha: float, generator: torch.Generator) -> Tensor:
    """n draws from Beta(alpha, alpha), as G / (G + G') of two Gamma(alpha) draws, on the generator's device."""
    shape = torch.full((2, n), alpha, dtype=torch.float64, device=generator.device)
    first, second = torch._standard_gamma(shape, generator=generator).clamp_min(1e-300)
    return first / (first + second)


def _mix(a: Tensor, b: Tensor, lam: Tensor) -> Tensor:
    return torch.lerp(b, a, lam.view(-1, *[1] * (a.dim() - 1)))
