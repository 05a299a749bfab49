"""Linear models on fixed basis functions: y = w phi(x) + b. Only w and b are trained."""

from __future__ import annotations

import itertools
import math
import warnings

import torch
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Count, Natural, Positive
from dlreg.model.blocks import Norm

MOST = 20_000  # monomials


class Polynomial(nn.Module):
    """All monomials of the features up to a total degree, 1 apart, which is the bias: $$y = b + sum_k w_k phi_k(x)$$.

    Bishop (2006), section 1.1, https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    Of one feature they are x, x^2, ..., x^degree, in this order. There is no hidden layer for `norm`.
    """

    factors: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm, *, degree: Natural) -> None:
        super().__init__()
        d = math.prod(shape)
        if (count := math.comb(d + degree, degree) - 1) > MOST:
            raise UserError(
                f"model.degree={degree} has {count:,} monomials of {d} features; at most {MOST:,} are allowed"
            )
        # A monomial is a product of `degree` factors: features, or the 1 that is put before them as number 0.
        products = list(itertools.combinations_with_replacement(range(d + 1), degree))[1:]
        products.sort(key=lambda factors: sum(map(bool, factors)))
        self.register_buffer("factors", torch.tensor(products, dtype=torch.long).view(len(products), degree))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of degree 0 there is no weight to fill
            self.layer = nn.Linear(len(products), classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, K)."""
        features = nn.functional.pad(x.flatten(1), (1, 0), value=1.0)
        return self.layer(features[:, self.factors].prod(2))


class RandomFeatures(nn.Module):
    """Random Fourier features: $$phi_k(x) = sqrt(2 / N) cos(v_k' x + c_k), v_k ~ N(0, I / sigma^2), c_k ~ U(0, 2 pi)$$
    for k = 1, ..., N = `features`.

    Rahimi & Recht (2007), Algorithm 1, https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines:
    for many features the inner product of phi(x) and phi(z) is the Gaussian kernel of width sigma. Belkin, Hsu, Ma, Mandal
    (2019), https://arxiv.org/abs/1812.11118, count complex features, two real ones each. The v and c follow from the seed of
    the run, as initial weights do.
    """

    v: Tensor
    c: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm, *, features: Count, sigma: Positive) -> None:
        super().__init__()
        self.scale = math.sqrt(2 / features)
        self.register_buffer("v", torch.randn(features, math.prod(shape)) / sigma)
        self.register_buffer("c", 2 * math.pi * torch.rand(features))
        self.layer = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, K)."""
        return self.layer(self.scale * nn.functional.linear(x.flatten(1), self.v, self.c).cos())


class RBF(nn.Module):
    """Gaussian basis functions: $$phi_k(x) = exp(-||x - c_k||^2 / (2 s^2))$$ on an even grid of centres from `low` to `high`.

    Bishop (2006), eq. 3.4, https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/. The
    grid has `centres` points along every feature. The width s is `width` times the distance of neighbours.
    """

    grid: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        norm: Norm,
        *,
        centres: Count,
        low: float,
        high: float,
        width: Positive,
    ) -> None:
        super().__init__()
        d = math.prod(shape)
        if centres**d > MOST:
            raise UserError(
                f"model.centres={centres} is {centres}^{d} centres for {d} features; at most {MOST:,} are allowed"
            )
        if high <= low:
            raise UserError(f"model.high={high:g} must be above model.low={low:g}")
        axis = torch.linspace(low, high, centres)
        self.register_buffer("grid", torch.cartesian_prod(*[axis] * d).view(-1, d))
        self.s = width * (high - low) / max(centres - 1, 1)
        self.layer = nn.Linear(len(self.grid), classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, K)."""
        squares = (x.flatten(1).unsqueeze(1) - self.grid).square().sum(2)
        return self.layer((-squares / (2 * self.s**2)).exp())
