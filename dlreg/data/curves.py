"""Regression on one feature: curves with noise, drawn here, in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dlreg.context import derive_seed
from dlreg.data.base import Dataset, Split, generated
from dlreg.hyper import Count, Natural, NonNegative

TEST = 1000
# t_n of the ten points (n / 9, t_n), known to six digits.
TEN = (0.349486, 0.830839, 1.007332, 0.971507, 0.133066, 0.166823, -0.848307, -0.445686, -0.563567, 0.261502)


@generated
def sine(
    root: Path, download: bool, *, n: Count, noise: NonNegative, points: Literal["grid", "random"], draw: Natural
) -> Dataset:
    """sin(2 pi x) + noise N(0, noise^2) at n points x in [0, 1], even (`grid`) or uniform (`random`); 1,000 test points.

    Bishop (2006), section 1.1, https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/.
    `draw` numbers independent training sets; the test points, random ones with the same noise, are the same for all of them.
    """
    test = _noisy_sine(TEST, noise, "random", None)
    return Dataset(_noisy_sine(n, noise, points, draw), test, classes=1, truth=_sine(test.x))


@generated
def sine10(root: Path, download: bool) -> Dataset:
    """The ten points of sin(2 pi x) + noise behind the printed table of polynomial coefficients, x = 0, 1/9, ..., 1.

    Bishop (2006), section 1.1 and Table 1.1,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/. Least squares gives the
    printed coefficients of degrees 0, 1 and 3 (which the table calls 6) to every digit. The targets have six digits, and
    those of degree 9 then seven: the rest is lost to rounding (x as exact ninths; with six digits of x five would be left).
    The test points are those of `sine` with noise 0.3.
    """
    x = torch.arange(10, dtype=torch.float64).unsqueeze(1) / 9
    t = torch.tensor(TEN, dtype=torch.float64).unsqueeze(1)
    test = _noisy_sine(TEST, 0.3, "random", None)
    return Dataset(Split(x, t), test, classes=1, truth=_sine(test.x))


@generated
def quadratic(root: Path, download: bool) -> Dataset:
    """21 points of -1.5 x + x^2 / 9 + N(0, 4) at x = 0, 1, ..., 20, and 200 test points; x is scaled to [-1, 1].

    Murphy (2012), Figures 1.18 and 7.8, https://probml.github.io/pml-book/book0.html: the numbers are those of the book's
    code, NumPy's generator with seed 0.
    """
    rng = np.random.RandomState(0)
    splits = []
    for x in (np.linspace(0, 20, 21), np.arange(0, 20, 0.1)):
        truth = -1.5 * x + x**2 / 9
        y = truth + 2 * rng.normal(0, 1, x.shape)
        splits.append(Split(*(torch.from_numpy(a.reshape(-1, 1)) for a in (x / 10 - 1, y))))
    return Dataset(splits[0], splits[1], classes=1, truth=torch.from_numpy(truth.reshape(-1, 1)))


def _noisy_sine(n: int, noise: float, points: str, draw: int | None) -> Split:
    generator = torch.Generator().manual_seed(derive_seed(0 if draw is None else draw, f"sine/{draw is None}"))
    even = torch.linspace(0, 1, n, dtype=torch.float64)
    x = even if points == "grid" else torch.rand(n, generator=generator, dtype=torch.float64)
    return Split(
        x.unsqueeze(1), (_sine(x) + noise * torch.randn(n, generator=generator, dtype=torch.float64)).unsqueeze(1)
    )


def _sine(x: Tensor) -> Tensor:
    return (2 * math.pi * x).sin()
