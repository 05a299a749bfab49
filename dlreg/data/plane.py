"""Classes in the plane: two features, so that `dlreg report` draws where a model decides for which."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from dlreg.context import derive_seed
from dlreg.data.base import Dataset, Split, generated
from dlreg.hyper import MOST, Natural, NonNegative, Positive

TEST = 1000
Several = Annotated[int, Field(ge=2, le=MOST)]
Drawn = Callable[[int, Tensor, Generator], Tensor]  # (samples, their classes, random numbers) -> points `(N, 2)`


@generated
def two_moons(root: Path, download: bool, *, n: Several, noise: NonNegative, draw: Natural) -> Dataset:
    """Two half circles of radius 1 that reach into each other, with noise N(0, noise^2) on both coordinates; 1,000 test points.

    The arcs are those of scikit-learn's `make_moons`: (cos t, sin t) and (1 - cos t, 1/2 - sin t), but with random t in
    [0, pi], https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_moons.html. `draw` numbers independent
    training sets.
    """

    def points(count: int, y: Tensor, generator: Generator) -> Tensor:
        t = math.pi * torch.rand(count, generator=generator, dtype=torch.float64)
        outer = torch.stack([t.cos(), t.sin()], 1)
        inner = torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)
        return torch.where(y.unsqueeze(1) == 0, outer, inner)

    return _classes(points, n, 2, noise, draw)


@generated
def spiral(
    root: Path, download: bool, *, n: Several, arms: Several, turns: Positive, noise: NonNegative, draw: Natural
) -> Dataset:
    """Arms of a spiral, a class each: radius r in [0, 1] at the angle 2 pi (turns r + class / arms), with noise N(0, noise^2)
    on both coordinates; 1,000 test points.

    As in the notes of CS231n, https://cs231n.github.io/neural-networks-case-study/, where the noise is one of the angle.
    `draw` numbers independent training sets.
    """

    def points(count: int, y: Tensor, generator: Generator) -> Tensor:
        r = torch.rand(count, generator=generator, dtype=torch.float64)
        angle = 2 * math.pi * (turns * r + y / arms)
        return r.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], 1)

    return _classes(points, max(n, arms), arms, noise, draw)


@generated
def xor(root: Path, download: bool, *, n: Several, noise: NonNegative, draw: Natural) -> Dataset:
    """Four Gaussian clouds N(c, noise^2 I) about the corners c of the square of side 2; corners on a diagonal are of one class.
    1,000 test points.

    Minsky & Papert (1969): no line parts the classes; Goodfellow et al. (2016), section 6.1,
    https://www.deeplearningbook.org/contents/mlp.html. `draw` numbers independent training sets.
    """

    def points(count: int, y: Tensor, generator: Generator) -> Tensor:
        first = 2.0 * torch.randint(2, (count,), generator=generator).double() - 1
        return torch.stack([first, first * (2 * y - 1)], 1)

    return _classes(points, n, 2, noise, draw)


def _classes(points: Drawn, n: int, classes: int, noise: float, draw: int) -> Dataset:
    """As many of each class as can be."""
    splits = []
    for count, number in ((n, draw), (TEST, None)):
        generator = torch.Generator().manual_seed(derive_seed(number or 0, f"plane/{number is None}"))
        y = torch.arange(count) % classes
        x = points(count, y, generator)
        splits.append(Split(x + noise * torch.randn(x.shape, generator=generator, dtype=torch.float64), y))
    return Dataset(splits[0], splits[1], classes)
