"""The statistics of a table: means with t intervals, paired differences, Holm's correction, what n seeds can show.

Nothing here knows runs or techniques. Arrays may carry leading axes (`(..., n)`: many tables at once), so that the
tests simulate thousands of tables with the very code that judges a real one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95  # of every interval
ALPHA = 0.05  # family-wise error rate of a table's verdicts
POWER = 0.8  # at which the smallest detectable effect is stated


@dataclass(frozen=True)
class Stat:
    """n values: their mean, sample standard deviation (ddof=1) and Student-t interval; one value has a mean alone."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Stat | None:
        """Of the values that are there; None if none is."""
        found = np.array([v for v in values if v is not None], dtype=float)
        if not len(found):
            return None
        if len(found) == 1:
            return cls(1, float(found[0]), None, None, None)
        low, high = interval(found)
        return cls(len(found), float(found.mean()), float(found.std(ddof=1)), float(low), float(high))


@dataclass(frozen=True)
class Difference:
    """What a row adds to the baseline over the seeds that both have, in the metric's unit."""

    stat: Stat
    p: float | None  # paired t-test; None for fewer than two pairs
    p_holm: float | None  # after Holm's correction over the table
    verdict: str  # better | worse | not distinguishable | needs seeds


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Student's t interval of the mean along the last axis: mean +- t_{n-1} sd / sqrt(n). Needs n >= 2."""
    n = values.shape[-1]
    half = special.stdtrit(n - 1, (1 + level) / 2) * values.std(axis=-1, ddof=1) / math.sqrt(n)
    return values.mean(axis=-1) - half, values.mean(axis=-1) + half


def paired_p(differences: np.ndarray, resolution: float = 0.0) -> np.ndarray:
    """Two-sided p of the paired t-test along the last axis; needs n >= 2.

    Errors are counts over a test set: seeds can agree to the last image by chance, and a spread of zero would make any
    difference certain. The variance is therefore never taken below that of rounding both values to steps of `resolution`,
    2 resolution^2/12 (Sheppard's correction).
    """
    n = differences.shape[-1]
    sd = np.maximum(differences.std(axis=-1, ddof=1), resolution / math.sqrt(6))
    mean = differences.mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / (sd / math.sqrt(n)))
    return 2 * special.stdtr(n - 1, -t)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values along the last axis (Holm, 1979): the i-th smallest of m times m-i+1, made monotone, at most 1.

    https://www.jstor.org/stable/4615733
    """
    m = p.shape[-1]
    order = np.argsort(p, axis=-1)
    scaled = np.take_along_axis(p, order, -1) * np.arange(m, 0, -1)
    adjusted = np.empty_like(scaled)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(scaled, axis=-1), 1.0), -1)
    return adjusted


def differences(
    rows: Sequence[dict[int, float]], base: int | None, resolution: float = 0.0, lower_is_better: bool = True
) -> list[Difference | None]:
    """Each row's difference to row `base`, Holm-corrected over the rows that can be tested.

    A row is `seed -> value`. The baseline itself, and a row that shares no seed with it, get None.
    """
    if base is None:
        return [None] * len(rows)
    shared = [
        None if i == base else np.array([row[s] - rows[base][s] for s in row if s in rows[base]])
        for i, row in enumerate(rows)
    ]
    tested = [i for i, d in enumerate(shared) if d is not None and len(d) > 1]
    p = {i: float(paired_p(d, resolution)) for i in tested if (d := shared[i]) is not None}
    corrected = dict(zip(tested, holm(np.array([p[i] for i in tested])).tolist(), strict=True)) if tested else {}
    found: list[Difference | None] = []
    for i, d in enumerate(shared):
        stat = Stat.of(d) if d is not None else None
        if stat is None:
            found.append(None)
        elif i not in p:
            found.append(Difference(stat, None, None, "needs seeds"))
        else:
            lower = (stat.mean < 0) == lower_is_better
            verdict = ("better" if lower else "worse") if corrected[i] < ALPHA else "not distinguishable"
            found.append(Difference(stat, p[i], corrected[i], verdict))
    return found


def best(
    rows: Sequence[dict[int, float]], base: int | None, resolution: float = 0.0, lower_is_better: bool = True
) -> int | None:
    """The row with the best mean, if it is distinguishable from *every* other row; else None.

    It must beat the baseline by the table's own verdict, and then each other row in a paired test with Holm's correction:
    so a table that declares a best has also declared a difference, and Holm's bound on false verdicts covers both.
    """
    if len(rows) < 2 or not all(rows):
        return None
    sign = 1 if lower_is_better else -1
    top = min(range(len(rows)), key=lambda i: sign * sum(rows[i].values()) / len(rows[i]))
    if base is not None and top != base:
        against_base = differences(rows, base, resolution, lower_is_better)[top]
        if against_base is None or against_base.verdict != "better":
            return None
    others = [d for i, d in enumerate(differences(rows, top, resolution, lower_is_better)) if i != top]
    return top if all(d is not None and d.verdict == "worse" for d in others) else None


def binomial_se(error: float, samples: int) -> float:
    """Standard error of an error rate measured on `samples` test images, sqrt(e(1-e)/N): luck in the test set alone."""
    return math.sqrt(error * (1 - error) / samples)


@functools.cache
def detectable(n: int, tests: int = 1, power: float = POWER) -> float:
    """The smallest true difference, in standard deviations of the paired differences, that n pairs show at this power.

    Two-sided paired t-test at ALPHA / tests (Holm's first step). Power is the tail of the noncentral t beyond the
    critical value; the opposite tail is left out (< 1e-3 where it matters).
    """
    critical = special.stdtrit(n - 1, 1 - ALPHA / tests / 2)
    return float(special.nctdtrinc(n - 1, 1 - power, critical)) / math.sqrt(n)
