"""Against scipy, against published figures, and by simulation of thousands of tables with the code that judges real ones."""

import math

import numpy as np
import pytest
from scipy import stats as oracle

from dlreg.report.stats import Stat, binomial_se, holm, interval, mean_and_sd


def test_interval_equals_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 30):
        a = rng.normal(size=n)
        low, high = interval(a)
        expected = oracle.ttest_1samp(a, 0).confidence_interval(0.95)
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        with_gaps = np.concatenate([a, [np.nan]])
        assert mean_and_sd(with_gaps) == pytest.approx((n, a.mean(), a.std(ddof=1)))


def test_stat():
    assert Stat.of([None]) is None
    assert Stat.of([2.0, None]) == Stat(1, 2.0, None, None, None)
    found = Stat.of([1.0, 2.0, 3.0, None])
    assert (found.n, found.mean, found.sd) == (3, 2.0, 1.0)
    half = 4.302652729911275 / math.sqrt(3)  # t(2) at 97.5 %
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))


def test_holm_by_hand_and_as_tables():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    many = np.random.default_rng(1).random((50, 7))
    assert np.array_equal(holm(many), np.stack([holm(row) for row in many]))
    # The smallest adjusted p is Bonferroni's, none is below the raw one, and the order is kept.
    assert holm(many).min(-1) == pytest.approx(np.minimum(7 * many.min(-1), 1))
    assert (holm(many) >= many).all() and (holm(many) <= 1).all()


def test_binomial_se():
    assert 100 * binomial_se(0.015, 10_000) == pytest.approx(0.12, abs=0.005)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_intervals_cover(n):
    values = np.random.default_rng(n).normal(1.6, 0.08, (20_000, n))
    low, high = interval(values)
    covered = ((low < 1.6) & (high > 1.6)).mean()
    assert 0.93 < covered < 0.97
