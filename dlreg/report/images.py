"""Differences over new seeds and new test images together, from which images each run got wrong.

An interval over seeds says what training again would give on these test images; other images would move every run at once.
With d_si = wrong_row(s, i) - wrong_control(s, i), seeds and images crossed as random effects, the mean of d has the variance

    V_seed / S + V_image / I + V_rest / (S I)  =  (MS_seed + MS_image - MS_rest) / (S I)

by the mean squares of the two-way layout; degrees of freedom by Satterthwaite (1946), https://doi.org/10.2307/3002019. The
crossed bootstrap (resampling both index sets) has this variance plus 2 V_rest / (S I) (Owen 2007,
https://doi.org/10.1214/07-AOAS122), which is why it is not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from dlreg.report.metrics import Select
from dlreg.report.stats import ALPHA
from dlreg.run.predictions import wrong
from dlreg.run.result import Result, replicate


@dataclass(frozen=True)
class Seen:
    """What a run did on each test image."""

    digest: str  # of the test set: images and labels in their order
    wrong: np.ndarray  # (I,) bool


@dataclass(frozen=True)
class Crossed:
    """A mean difference with its standard error over seeds and images, in percent. Arrays for many tables at once."""

    mean: np.ndarray
    se: np.ndarray
    df: np.ndarray

    def half_width(self, alpha: float = ALPHA) -> np.ndarray:
        """Of the interval at 1 - alpha."""
        return np.asarray(special.stdtrit(self.df, 1 - alpha / 2) * self.se)

    @property
    def p(self) -> np.ndarray:
        """Two-sided, of no difference."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean == 0, 1.0, 2 * special.stdtr(self.df, -np.abs(self.mean) / self.se))

    def p_equivalent(self, margin: float) -> np.ndarray:
        """That the difference is not within the margin: the larger of two one-sided p."""
        return np.asarray(special.stdtr(self.df, (np.abs(self.mean) - margin) / np.maximum(self.se, 1e-12)))


def seen(result: Result, select: Select) -> Seen | None:
    """What the run recorded for this epoch; None for a run that recorded nothing, as runs before this record."""
    found = wrong(result, select) if result.test_set else None
    return None if found is None else Seen(str(result.test_set), found)


def difference(row: Sequence[Result], control: Sequence[Result], select: Select) -> Crossed | None:
    """Of a row to its control over the seeds that both have; None unless all of them recorded the same images."""
    mine, theirs = ({replicate(r.config): seen(r, select) for r in runs} for runs in (row, control))
    pairs = [(mine[seed], theirs[seed]) for seed in mine if seed in theirs]
    records = [record for pair in pairs for record in pair if record is not None]
    if len(pairs) < 2 or len(records) < 2 * len(pairs) or len({(r.digest, len(r.wrong)) for r in records}) > 1:
        return None
    return crossed(100 * np.array([a.wrong.astype(float) - b.wrong for a, b in pairs if a and b]))


def crossed(d: np.ndarray) -> Crossed:
    """The mean of `d`, (..., seeds, images), as an estimate for new seeds and new images. Needs two of each."""
    seeds, images = d.shape[-2:]
    mean = d.mean((-1, -2))
    of_seeds, of_images = d.mean(-1) - mean[..., None], d.mean(-2) - mean[..., None]
    ss_seed, ss_image = images * (of_seeds**2).sum(-1), seeds * (of_images**2).sum(-1)
    ss_rest = ((d - mean[..., None, None]) ** 2).sum((-1, -2)) - ss_seed - ss_image
    degrees = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)])
    squares = np.stack([ss_seed, ss_image, np.maximum(ss_rest, 0)], -1) / degrees  # mean squares: seed, image, rest
    # A component that comes out negative counts as none.
    total = np.maximum(squares[..., 0] + squares[..., 1] - squares[..., 2], squares[..., :2].max(-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(total > 0, total**2 / (squares**2 / degrees).sum(-1), degrees[0])
    return Crossed(mean, np.sqrt(total) / math.sqrt(seeds * images), df)
