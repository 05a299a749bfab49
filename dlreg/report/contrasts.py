"""Which rows differ: Dunnett's test on the pooled spread where the rows allow it, else paired t-tests with Holm's correction.

Values are arrays `(..., rows, seeds)`, NaN where a row lacks a seed; a pair is (row, its control). Leading axes are many
tables at once, so that tests simulate thousands of tables with the very code that judges a real one.

Pooling is what gives few seeds power: y_rs = row_r + seed_s + e_rs has one residual variance with (R-1)(S-1) degrees of
freedom, and a difference of rows the variance 2 sigma^2 / S. It needs rows of equal spread, which three seeds cannot prove.
So it is guarded twice (levels chosen by simulation: `tests/test_contrasts.py`): a table in which a spread stands out is not
pooled, and a row in a pooled table must also pass its own paired t-test at 2 %.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from dlreg.report import dunnett
from dlreg.report.stats import ALPHA, holm, mean_and_sd

OUTLYING = 0.2  # the level at which a spread that stands out keeps a table from being pooled
LEAST_PAIRS = 3  # up to two, Holm's steps are less strict than OWN
LEAST_SEEDS = 3  # two tell nothing about a row's spread
OWN = 0.02  # the level of a row's own test in a pooled table

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Contrasts:
    """The comparisons of a table, measured. Arrays end in the axis of the pairs, but for `pooled`."""

    mean: np.ndarray  # of row minus control, over the seeds that both have
    raw_sd: np.ndarray  # of these differences
    sd: np.ndarray  # likewise, but not below that of rounding
    n: np.ndarray  # how many there are
    pooled: np.ndarray  # (...): whether the rows may share one spread
    sigma: np.ndarray  # (...): that spread; NaN where a seed is missing
    df: int  # its degrees of freedom
    stars: tuple[int, ...]  # how many rows are compared with each control
    seeds: int  # how many any of the rows has
    complete: np.ndarray  # (...): whether every row has all of them

    @property
    def t_own(self) -> np.ndarray:
        """Standard errors between a row and its control, by the spread of their differences."""
        return self._over(np.abs(self.mean), self.se_own)

    @property
    def se_own(self) -> np.ndarray:
        """Of each mean difference, from its own spread."""
        return self.sd / np.sqrt(self.n)

    @property
    def se_pooled(self) -> np.ndarray:
        """Of each mean difference, from the spread of all rows."""
        return np.sqrt(2 / self.n) * self.sigma[..., None]

    @property
    def p(self) -> np.ndarray:
        """Two-sided, of each paired t-test by itself."""
        return 2 * special.stdtr(self.n - 1, -self.t_own)

    @property
    def p_adjusted(self) -> np.ndarray:
        """Two-sided, for the family: below 5 % in any row without a difference in at most 5 % of tables."""

        def together() -> np.ndarray:
            shared = dunnett.tail(self._over(np.abs(self.mean), self.se_pooled), self.stars, self.df)
            return np.maximum(shared, ALPHA / OWN * self.p)

        return self._either(together, holm(self.p))

    def p_equivalent(self, margin: float) -> np.ndarray:
        """For the family: that the difference is not within the margin. Of two one-sided tests the larger p (Schuirmann 1987).

        https://doi.org/10.1007/BF01068419
        """
        room = margin - np.abs(self.mean)
        own = special.stdtr(self.n - 1, -self._over(room, self.se_own))

        def together() -> np.ndarray:
            shared = dunnett.tail(self._over(room, self.se_pooled), self.stars, self.df, sides=1)
            return np.maximum(shared, ALPHA / OWN * own)

        return self._either(together, holm(own))

    @property
    def half_width(self) -> np.ndarray:
        """Of the 95 % interval: for all differences together where they are pooled, else for each by itself."""

        def together() -> np.ndarray:
            own = special.stdtrit(self.n - 1, 1 - OWN / 2) * self.se_own
            return np.maximum(dunnett.critical(self.stars, self.df, ALPHA) * self.se_pooled, own)

        return self._either(together, special.stdtrit(self.n - 1, 1 - ALPHA / 2) * self.se_own)

    def _either(self, together: Callable[[], np.ndarray], alone: np.ndarray) -> np.ndarray:
        return np.where(self.pooled[..., None], together(), alone) if self.pooled.any() else alone

    @staticmethod
    def _over(value: np.ndarray, se: np.ndarray) -> np.ndarray:
        """In standard errors; nothing over nothing is nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(value == 0, 0.0, value / se)


def measure(values: np.ndarray, pairs: Pairs, resolution: float = 0.0) -> Contrasts:
    """The comparisons of these pairs; each needs two seeds that both of its rows have.

    Errors are counts over a test set: seeds can agree to the last image by chance, and a spread of zero would make any
    difference certain. A variance is therefore never taken below that of rounding to steps of `resolution`: a twelfth of its
    square for a value (Sheppard's correction), twice that for a difference.
    """
    rows, controls = [i for i, _ in pairs], [j for _, j in pairs]
    n, mean, sd = mean_and_sd(values[..., rows, :] - values[..., controls, :])
    stars = Counter(controls)
    used = values[..., sorted({*rows, *controls}), :]
    of_controls = np.array([i in stars for i in sorted({*rows, *controls})])
    sigma, outlying, df = _residuals(used, of_controls)
    complete = np.isfinite(used).all((-1, -2))
    worth = len(pairs) >= LEAST_PAIRS and values.shape[-1] >= LEAST_SEEDS
    pooled = complete & ~outlying & worth
    return Contrasts(
        mean, sd, np.maximum(sd, resolution / math.sqrt(6)), n, pooled, np.maximum(sigma, resolution / math.sqrt(12)),
        df, tuple(sorted(stars.values())), values.shape[-1], complete,
    )  # fmt: skip


def _residuals(values: np.ndarray, of_controls: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The residual standard deviation of the two-way layout, whether a row's own stands out, and the degrees of freedom.

    A row's sum of squares is held against the others' by F: the controls', which stand in every difference, and the other
    rows', each kind at the level OUTLYING (Bonferroni inside).
    """
    rows, seeds = values.shape[-2:]
    e = values - values.mean(-1, keepdims=True)
    e = e - e.mean(-2, keepdims=True)
    squares = (e**2).sum(-1)
    total = squares.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = squares / ((total - squares) / (rows - 1))
    level = 1 - OUTLYING / np.where(of_controls, of_controls.sum(), (~of_controls).sum())
    outlying = (ratio > special.fdtri(seeds - 1, max(rows - 2, 1) * (seeds - 1), level)).any(-1)
    df = (rows - 1) * (seeds - 1)
    return np.sqrt(total[..., 0] / df), outlying, df


@functools.cache
def detectable(n: int, tests: int, rows: int | None = None, power: float = 0.8) -> float:
    """The smallest true difference, in standard deviations of the paired differences, that n seeds show at this power.

    The tail of the noncentral t beyond the critical value; the opposite tail is left out (< 1e-3 where it matters). Alone
    (no `rows`): the paired t-test at Holm's first step. In a table of pooled `rows`: the larger of what a row's own test and
    Dunnett's need, whose critical value Bonferroni's stands for (3 % above it at most).
    """

    def least(level: float, df: int) -> float:
        return float(special.nctdtrinc(df, 1 - power, special.stdtrit(df, 1 - level / 2)))

    own = least(ALPHA / tests, n - 1) if rows is None else least(OWN, n - 1)
    shared = 0.0 if rows is None else least(ALPHA / tests, (rows - 1) * (n - 1))
    return max(own, shared) / math.sqrt(n)
