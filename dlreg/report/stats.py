"""The statistics of single numbers: means with t intervals, Holm's correction, the luck of a test set.

Nothing here knows runs or techniques. Arrays may carry leading axes (`(..., n)`: many tables at once), so that the
tests simulate thousands of tables with the very code that judges a real one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

LEVEL = 0.95  # of every interval
ALPHA = 0.05  # family-wise error rate of a table's verdicts


@dataclass(frozen=True)
class Stat:
    """n values: their mean, sample standard deviation (ddof=1) and Student-t interval; one value has a mean alone."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Iterable[float | None], level: float = LEVEL, overlap: float = 0.0) -> Stat | None:
        """Of the values that are there, with the interval at this level; None if none is. `overlap`: `report.folds`."""
        found = np.array([v for v in values if v is not None], dtype=float)
        if not len(found):
            return None
        if len(found) == 1:
            return cls(1, float(found[0]), None, None, None)
        low, high = interval(found, level, overlap)
        return cls(len(found), float(found.mean()), float(found.std(ddof=1)), float(low), float(high))

    def times(self, factor: float) -> Stat:
        """In another unit; the factor is positive."""
        low, high = (None if end is None else factor * end for end in (self.low, self.high))
        return Stat(self.n, factor * self.mean, None if self.sd is None else factor * self.sd, low, high)

    def within(self, least: float, most: float) -> Stat:
        """The interval's part between limits that no mean can pass: what is cut off held no mean, so coverage is the same."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=min(max(self.low, least), most), high=max(min(self.high, most), least))


def interval(values: np.ndarray, level: float = LEVEL, overlap: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval of the mean along the last axis: mean +- t_{n-1} sd sqrt(1/n + overlap). Needs n >= 2."""
    from scipy import special  # slow to load, and every command imports this file

    n = values.shape[-1]
    half = (
        special.stdtrit(n - 1, (1 + level) / 2)
        * values.std(axis=-1, ddof=1)
        / math.sqrt(n)
        * math.sqrt(1 + n * overlap)
    )
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many there are along the last axis, their mean, and their sample standard deviation (ddof=1); NaN is not there."""
    there = np.isfinite(values)
    n = there.sum(-1)
    mean = np.where(there, values, 0.0).sum(-1) / n
    squares = np.where(there, (values - mean[..., None]) ** 2, 0.0).sum(-1)
    return n, mean, np.sqrt(squares / (n - 1))


def holm(p: np.ndarray, of: int | None = None) -> np.ndarray:
    """Adjusted p-values along the last axis (Holm, 1979): the i-th smallest of m times m-i+1, made monotone, at most 1.

    `of`: m, where the family is larger than what is given of it; the others count as the largest.

    https://www.jstor.org/stable/4615733
    """
    m, given = of or p.shape[-1], p.shape[-1]
    order = np.argsort(p, axis=-1)
    scaled = np.take_along_axis(p, order, -1) * np.arange(m, m - given, -1)
    adjusted = np.empty_like(scaled)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(scaled, axis=-1), 1.0), -1)
    return adjusted


def binomial_se(error: float, samples: int) -> float:
    """Standard error of an error rate measured on `samples` test images, sqrt(e(1-e)/N): luck in the test set alone."""
    return math.sqrt(error * (1 - error) / samples)
