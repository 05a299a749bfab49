"""Linear regression on Gaussian features whose covariance has given eigenvalues, drawn here, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dlreg.context import derive_seed
from dlreg.data.base import Dataset, Split, generated
from dlreg.errors import UserError
from dlreg.hyper import Count, Natural, NonNegative, Positive

TEST = 1000
Spectrum = Annotated[list[Positive], Field(min_length=1)]


@generated
def gaussian(
    root: Path, download: bool, *, n: Count, spectrum: Spectrum, noise: NonNegative, exact: bool, draw: Natural
) -> Dataset:
    """x ~ N(0, diag(spectrum)), y = sum_k x_k + N(0, noise^2): every true weight is 1. 1,000 test points.

    Goodfellow et al. (2016), section 7.1.1, https://www.deeplearningbook.org/contents/regularization.html: the features are
    the eigenvectors, so that what a technique does to each eigenvalue stands in the weights. The Hessian of the mean squared
    error is twice the covariance. `exact` makes mean and covariance of the n training points 0 and diag(spectrum) themselves,
    and their noise orthogonal to the features; `draw` numbers independent training sets.
    """
    d = len(spectrum)
    if exact and n < d + 2:
        raise UserError(f"data.exact=true needs more points than features: data.n={n} must be at least {d + 2}")
    splits = []
    for size, number in ((n, draw), (TEST, None)):
        generator = torch.Generator().manual_seed(derive_seed(number or 0, f"gaussian/{number is None}"))
        standard = torch.randn(size, d + 1, generator=generator, dtype=torch.float64)
        if exact and number is not None:
            standard = _whitened(standard)
        x = standard[:, :d] * torch.tensor(spectrum, dtype=torch.float64).sqrt()
        splits.append(Split(x, x.sum(1, keepdim=True) + noise * standard[:, d:]))
    return Dataset(splits[0], splits[1], classes=1, truth=splits[1].x.sum(1, keepdim=True))


def _whitened(x: Tensor) -> Tensor:
    """Columns of mean 0 whose products have the mean 1 with themselves and 0 with others."""
    q, r = torch.linalg.qr(x - x.mean(0))
    return q * r.diagonal().sign() * len(x) ** 0.5
