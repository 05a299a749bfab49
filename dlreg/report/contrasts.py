"""Which rows differ: Dunnett's test on the pooled spread where the rows allow it, else paired t-tests with Holm's correction.

Values are arrays `(..., rows, seeds)`, NaN where a row lacks a seed; a pair is (row, its control). Leading axes are many
tables at once, so that tests simulate thousands of tables with the very code that judges a real one.

Pooling is what gives few seeds power: y_rs = row_r + seed_s + e_rs has one residual variance with (R-1)(S-1) degrees of
freedom, and a difference of rows the variance 2 sigma^2 / S. The effect of a seed is that on rows which are compared with
each other: the 500 images that it draws say little about its 50,000. Pooling needs rows of equal spread, which three seeds
cannot prove. So it is guarded twice (levels chosen by simulation: `tests/test_contrasts.py`): a table in which a spread
stands out is not pooled, and a row in a pooled table must also pass its own paired t-test at 2 % (in general at two fifths
of the level).

Where a table is judged several times (`dlreg.report.looks`), rows that are settled are not judged again: they stay in the
family, so that leaving them out cannot raise the error, and lend the pooled spread the seeds that they have.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dlreg.report import dunnett
from dlreg.report.stats import ALPHA, holm, mean_and_sd

OUTLYING = 0.2  # the level at which a spread that stands out keeps a table from being pooled
LEAST_PAIRS = 3  # up to two, Holm's steps are less strict than OWN
LEAST_SEEDS = 3  # two tell nothing about a row's spread
OWN = 0.02  # the level of a row's own test in a pooled table that is judged at 5 %

Pairs = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Contrasts:
    """The comparisons of a table, measured. Arrays end in the axis of the pairs, but for `pooled`."""

    mean: np.ndarray  # of row minus control, over the seeds that both have
    raw_sd: np.ndarray  # of these differences
    sd: np.ndarray  # likewise, but not below that of rounding, and wider where runs are folds
    n: np.ndarray  # how many there are
    pooled: np.ndarray  # (...): whether the rows may share one spread
    sigma: np.ndarray  # (...): that spread; NaN where a seed is missing
    df: int  # its degrees of freedom
    stars: tuple[int, ...]  # how many rows of the family are compared with each control
    seeds: int  # how many any of the rows has
    complete: np.ndarray  # (...): whether every row that is judged has all of them
    overlap: float = 0.0  # of cross-validation: n_test / n_train

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

        return self._either(together, holm(self.p, sum(self.stars)))

    def p_equivalent(self, margin: float) -> np.ndarray:
        """For the family: that the difference is not within the margin. Of two one-sided tests the larger p (Schuirmann 1987).

        https://doi.org/10.1007/BF01068419
        """
        room = margin - np.abs(self.mean)
        own = special.stdtr(self.n - 1, -self._over(room, self.se_own))

        def together() -> np.ndarray:
            shared = dunnett.tail(self._over(room, self.se_pooled), self.stars, self.df, sides=1)
            return np.maximum(shared, ALPHA / OWN * own)

        return self._either(together, holm(own, sum(self.stars)))

    def half_width(self, alpha: float = ALPHA) -> np.ndarray:
        """Of the interval at 1 - alpha: for all differences together where they are pooled, else for each by itself."""

        def together() -> np.ndarray:
            own = special.stdtrit(self.n - 1, 1 - alpha * OWN / ALPHA / 2) * self.se_own
            return np.maximum(dunnett.critical(self.stars, self.df, alpha) * self.se_pooled, own)

        return self._either(together, special.stdtrit(self.n - 1, 1 - alpha / 2) * self.se_own)

    def _either(self, together: Callable[[], np.ndarray], alone: np.ndarray) -> np.ndarray:
        return np.where(self.pooled[..., None], together(), alone) if self.pooled.any() else alone

    @staticmethod
    def _over(value: np.ndarray, se: np.ndarray) -> np.ndarray:
        """In standard errors; nothing over nothing is nothing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(value == 0, 0.0, value / se)


def measure(
    values: np.ndarray, pairs: Pairs, resolution: float = 0.0, family: Pairs | None = None, overlap: float = 0.0
) -> Contrasts:
    """The comparisons of these pairs; each needs two seeds that both of its rows have.

    `family`: all pairs that the test is corrected for, where these are not all.

    Errors are counts over a test set: seeds can agree to the last image by chance, and a spread of zero would make any
    difference certain. A variance is therefore never taken below that of rounding to steps of `resolution`: a twelfth of its
    square for a value (Sheppard's correction), twice that for a difference. `overlap`: of folds (`dlreg.report.folds`), which
    makes the standard error of a mean of n sd sqrt(1/n + overlap); no theory says how to pool such rows, so none are.
    """
    rows, controls = [i for i, _ in pairs], [j for _, j in pairs]
    n, mean, sd = mean_and_sd(values[..., rows, :] - values[..., controls, :])
    family = pairs if family is None else family
    stars = Counter(j for _, j in family)
    used = sorted({i for pair in family for i in pair})
    judged = np.array([i in {*rows, *controls} for i in used])
    of_controls = np.array([i in stars for i in used])
    sigma, outlying, df = _residuals(values[..., used, :], judged, of_controls, _groups(used, family))
    complete = np.isfinite(values[..., used, :][..., judged, :]).all((-1, -2))
    worth = len(family) >= LEAST_PAIRS and values.shape[-1] >= LEAST_SEEDS
    pooled = complete & ~outlying & worth & (overlap == 0)
    wider = np.sqrt(1 + n * overlap)
    return Contrasts(
        mean, sd, np.maximum(sd, resolution / math.sqrt(6)) * wider, n, pooled, np.maximum(sigma, resolution / math.sqrt(12)),
        df, tuple(sorted(stars.values())), values.shape[-1], complete, overlap,
    )  # fmt: skip


def _groups(used: Sequence[int], family: Pairs) -> list[np.ndarray]:
    """Which of the rows used are compared with each other, directly or through others: a mask for each group."""
    i, j = np.searchsorted(used, np.transpose(family))
    n, group = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(len(used), len(used))), directed=False)
    return [group == g for g in range(n)]


def _residuals(
    values: np.ndarray, judged: np.ndarray, of_controls: np.ndarray, groups: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int]:
    """The residual standard deviation of the two-way layout, whether a row's own stands out, and the degrees of freedom.

    A row's sum of squares is held against the others' by F: the controls', which stand in every difference, and the other
    rows', each kind at the level OUTLYING (Bonferroni inside). Rows that are not judged any more may lack seeds, in all
    tables the same ones.
    """
    there = np.isfinite(values).all(tuple(range(values.ndim - 2))) | judged[:, None]
    squares = np.empty(values.shape[:-1])
    of_row = there.sum(-1) - 1
    df = int(of_row.sum())
    for group in groups:
        seeds = there[group].any(0)
        squares[..., group] = (_additive(values[..., group, :][..., seeds], there[group][:, seeds]) ** 2).sum(-1)
        df -= int(seeds.sum()) - 1
    total = squares.sum(-1, keepdims=True)
    rest = of_row.sum() - of_row
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = squares / of_row / ((total - squares) / rest)
    level = 1 - OUTLYING / np.where(of_controls, of_controls.sum(), (~of_controls).sum())
    outlying = (ratio > special.fdtri(of_row, np.maximum(df - of_row, of_row), level)).any(-1)
    return np.sqrt(total[..., 0] / df), outlying, df


def _additive(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """What is left of the values by least squares when each row and each seed has an effect; 0 where there is none."""
    n = there.sum(-1, keepdims=True)

    def within(x: np.ndarray) -> np.ndarray:
        return np.where(there, x - np.where(there, x, 0).sum(-1, keepdims=True) / n, 0)

    e = within(values)
    normal = np.diag(there.sum(0)) - there.T @ (there / n) + 1 / there.shape[-1]  # with this, effects of seeds sum to 0
    seeds = np.linalg.solve(normal, e.sum(-2)[..., None])
    return within(e - np.swapaxes(seeds, -1, -2))


@functools.cache
def detectable(n: int, tests: int, rows: int | None = None, power: float = 0.8, alpha: float = ALPHA) -> float:
    """The smallest true difference, in standard deviations of the paired differences, that n seeds show at this power.

    The tail of the noncentral t beyond the critical value; the opposite tail is left out (< 1e-3 where it matters). Alone
    (no `rows`): the paired t-test at Holm's first step. In a table of pooled `rows`: the larger of what a row's own test and
    Dunnett's need, whose critical value Bonferroni's stands for (3 % above it at most).
    """

    def least(level: float, df: int) -> float:
        return float(special.nctdtrinc(df, 1 - power, special.stdtrit(df, 1 - level / 2)))

    own = least(alpha / tests, n - 1) if rows is None else least(alpha * OWN / ALPHA, n - 1)
    shared = 0.0 if rows is None else least(alpha / tests, (rows - 1) * (n - 1))
    return max(own, shared) / math.sqrt(n)
