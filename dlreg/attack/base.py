"""Perturbations of inputs: the ball that they stay in, and the ascent of a loss inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dlreg.errors import UserError

Norm = Literal["linf", "l2"]
Objective = Callable[[Tensor], Tensor]  # inputs `(N, ...)` -> the sum of what is to grow, sample by sample


@dataclass(frozen=True)
class Ball:
    """All inputs within `eps` of x, in pixel units, by the norm of each sample; images stay in [0, 1] as well.

    A value of x that lies outside [0, 1] already (features, noisy images) may stay there and go no further out.
    """

    eps: float
    norm: Norm

    def inside(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform draw."""
        if self.norm == "linf":
            noise = torch.empty_like(x).uniform_(-self.eps, self.eps, generator=generator)
        else:
            noise = torch.empty_like(x).normal_(generator=generator)
            share = torch.empty(len(x), dtype=x.dtype, device=x.device).uniform_(generator=generator)
            noise = unit(noise) * self.eps * broad(share ** (1 / x[0].numel()), x)
        return self.onto(x, x + noise)

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """The steepest ascent of length `size`: size sign(g), or size g / |g|."""
        return size * (gradient.sign() if self.norm == "linf" else unit(gradient))

    def onto(self, x: Tensor, other: Tensor) -> Tensor:
        """The point of the ball about x next to `other`; of an image, the part of it in [0, 1]."""
        if self.norm == "linf":
            other = torch.minimum(torch.maximum(other, x - self.eps), x + self.eps)
        else:
            away = other - x
            other = x + away * broad((self.eps / length(away).clamp_min(1e-30)).clamp_max(1), x)
        return torch.minimum(torch.maximum(other, x.clamp_max(0)), x.clamp_min(1)) if x.dim() == 4 else other


@dataclass(frozen=True)
class Ascent:
    """$x' <- P(x' + size d(g))$, `steps` times from x or from a random point: P projects onto the ball, d is its steepest way.

    One step of size eps from x is the fast gradient sign method; more are projected gradient descent.
    """

    ball: Ball
    steps: int
    size: float
    random_start: bool

    def __call__(self, objective: Objective, x: Tensor, generator: torch.Generator) -> Tensor:
        """x `(N, ...)` -> x', in which `objective` is larger."""
        here = self.ball.inside(x, generator) if self.random_start else x
        for _ in range(self.steps):
            here = self.ball.onto(x, here + self.ball.step(slope(objective, here), self.size))
        return here


def slope(objective: Objective, x: Tensor) -> Tensor:
    """The gradient with respect to the inputs. Those of the weights are left alone."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = objective(x)
        if not value.requires_grad:
            raise UserError(
                "an attack follows the gradient of the outputs, and these have none (combine=vote has none)"
            )
        return torch.autograd.grad(value, x)[0]


def length(x: Tensor) -> Tensor:
    """The L2 norm of each sample, `(N,)`."""
    return x.flatten(1).norm(dim=1)


def unit(x: Tensor) -> Tensor:
    """Each sample divided by its L2 norm; zeros stay zeros."""
    scale = broad(x.flatten(1).abs().amax(1).clamp_min(torch.finfo(x.dtype).tiny), x)  # squares of small numbers vanish
    return x / scale / broad(length(x / scale).clamp_min(0.5), x)


def broad(values: Tensor, x: Tensor) -> Tensor:
    """`(N,)` -> `(N, 1, ...)`, to be multiplied with x."""
    return values.view(-1, *[1] * (x.dim() - 1))
