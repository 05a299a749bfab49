"""Against scipy, against published figures, and by simulation of thousands of tables with the code that judges real ones."""

import math

import numpy as np
import pytest
from scipy import stats as oracle

from dlreg.report.stats import Stat, best, binomial_se, detectable, differences, holm, interval, paired_p


def rows(values):
    """An array (rows, seeds) as the `seed -> value` dicts a table is judged by."""
    return [dict(enumerate(map(float, row))) for row in values]


def test_interval_and_p_equal_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 30):
        a, b = rng.normal(size=(2, n))
        low, high = interval(a)
        expected = oracle.ttest_1samp(a, 0).confidence_interval(0.95)
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-12)
        assert paired_p(a - b) == pytest.approx(oracle.ttest_rel(a, b).pvalue, rel=1e-10)


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


def test_differences_are_paired_by_seed():
    base = {0: 5.0, 1: 6.0, 2: 7.0}
    found = differences([base, {1: 5.0, 2: 6.1, 9: 0.0}, {7: 1.0}, {2: 6.0}], 0)
    assert found[0] is None and found[2] is None
    assert found[1].stat.n == 2 and found[1].stat.mean == pytest.approx(-0.95)
    assert found[3].verdict == "needs seeds" and found[3].p is None
    assert differences([base, base], None) == [None, None]


def test_verdicts_and_best():
    noise = np.array([0.0, 0.1, -0.1, 0.05, -0.05])
    clear = rows([5 + noise, 4 + noise[::-1] / 10, 6 + noise])
    assert [d and d.verdict for d in differences(clear, 0)] == [None, "better", "worse"]
    assert [d and d.verdict for d in differences(clear, 0, lower_is_better=False)] == [None, "worse", "better"]
    assert best(clear, 0) == 1 and best(clear, None) == 1 and best(clear, 1) == 1
    assert best(clear, 0, lower_is_better=False) == 2
    close = rows([5 + noise, 4 + noise, 4.01 + noise[::-1]])
    assert best(close, 0) is None  # two rows cannot be told apart: neither is bold
    assert best(rows([[5.0]]), 0) is None and best([*clear, {}], 0) is None


def test_seeds_that_agree_by_chance_are_not_certainty():
    one_image = 100 / 360  # the test split of the digits, in percent
    same_step = rows([[2.0, 3.0], [2.0 + one_image, 3.0 + one_image]])
    assert differences(same_step, 0)[1].p < 1e-6  # a spread of zero
    assert differences(same_step, 0, one_image)[1].verdict == "not distinguishable"
    assert differences(rows([[2.0, 3.0], [2.0, 3.0]]), 0)[1].p == 1.0


def test_binomial_se_and_detectable_effect():
    assert 100 * binomial_se(0.015, 10_000) == pytest.approx(0.12, abs=0.005)
    assert detectable(3) == pytest.approx(3.26, abs=0.01)
    assert detectable(5) == pytest.approx(1.68, abs=0.01)
    assert detectable(5, tests=14) > 2 * detectable(5)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_intervals_cover(n):
    values = np.random.default_rng(n).normal(1.6, 0.08, (20_000, n))
    low, high = interval(values)
    covered = ((low < 1.6) & (high > 1.6)).mean()
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_no_false_winners_among_identical_techniques(seeds):
    """15 rows with the same distribution, paired by seed: any verdict in at most 5 % of 2,000 tables."""
    rng = np.random.default_rng(seeds)
    shared = rng.normal(0, 0.1, (2000, 1, seeds))  # what a seed does to every row: split, init and order
    tables = 1.6 + shared + rng.normal(0, 0.08, (2000, 15, seeds))
    p = holm(paired_p(tables[:, 1:] - tables[:, :1]))
    assert (p < 0.05).any(-1).mean() <= 0.05
    declared = [best(rows(table), 0) is not None for table in tables[:200]]
    some_verdict = (p[:200] < 0.05).any(-1)
    assert not (np.array(declared) & ~some_verdict).any()  # a best is never declared without a difference


@pytest.mark.parametrize("seeds", [2, 3])
def test_no_false_winners_on_a_coarse_test_set(seeds):
    """Errors of 360 images come in steps: ties between few seeds must not make winners."""
    rng = np.random.default_rng(seeds)
    tables = 100 * rng.binomial(360, 0.02, (2000, 15, seeds)) / 360
    p = holm(paired_p(tables[:, 1:] - tables[:, :1], 100 / 360))
    assert (p < 0.05).any(-1).mean() <= 0.05


@pytest.mark.parametrize(("seeds", "tests"), [(3, 1), (5, 1), (5, 14), (10, 5)])
def test_the_stated_effect_is_found_at_the_stated_power(seeds, tests):
    rng = np.random.default_rng(seeds + tests)
    found = paired_p(rng.normal(detectable(seeds, tests), 1, (20_000, seeds))) < 0.05 / tests
    assert found.mean() == pytest.approx(0.8, abs=0.015)
