"""Dunnett's distribution against published tables and scipy, and the tests of a table by simulation of thousands of them."""

import math

import numpy as np
import pytest
from scipy import stats as oracle

from dlreg.report.contrasts import detectable, measure
from dlreg.report.dunnett import critical, tail


def judged(tables, resolution=0.0):
    """Tables (..., rows, seeds), every row against the first."""
    return measure(tables, [(i, 0) for i in range(1, tables.shape[-2])], resolution)


def noise(rows, seeds, spread=1.0, tables=4000):
    """Rows of equal means, paired by seed; `spread` for all or for each row."""
    rng = np.random.default_rng([rows, seeds])
    shared = rng.normal(0, 2, (tables, 1, seeds))  # what a seed does to every row: split, init and order
    return shared + rng.normal(0, 1, (tables, rows, seeds)) * np.broadcast_to(spread, rows)[:, None]


def test_critical_values_are_the_published_ones():
    """Dunnett (1964), 5 %, for 1, 2, 5 and 9 rows beside the control, https://doi.org/10.2307/2528490."""
    two = {
        5: [2.57, 3.03, 3.62, 3.97],
        10: [2.23, 2.57, 2.99, 3.24],
        20: [2.09, 2.38, 2.73, 2.95],
    }
    one = {5: [2.02, 2.44, 2.98, 3.30], 10: [1.81, 2.15, 2.56, 2.81]}
    for sides, published in ((2, two), (1, one)):
        for df, values in published.items():
            assert [critical((k,), df, 0.05, sides) for k in (1, 2, 5, 9)] == pytest.approx(values, abs=0.0055)


def test_distribution_equals_scipy():
    for df in (2, 14, 76):
        t = np.array([0.3, 1.7, 3.3, 9.0])
        assert tail(t, (1,), df) == pytest.approx(2 * oracle.t.sf(t, df), rel=1e-5, abs=1e-10)
        assert tail(t, (1,), df, 1) == pytest.approx(oracle.t.sf(t, df), rel=1e-5, abs=1e-10)
    blocks = np.kron(np.eye(2), np.full((3, 3), 0.5)) + 0.5 * np.eye(6)  # two controls with three rows each
    for stars, correlation in (((7,), 0.5 + 0.5 * np.eye(7)), ((3, 3), blocks)):
        m = sum(stars)
        multivariate = oracle.multivariate_t(np.zeros(m), correlation, df=14, seed=0)
        expected = 1 - multivariate.cdf(np.full(m, 2.9), lower_limit=np.full(m, -2.9), maxpts=50_000)
        assert tail(np.array([2.9]), stars, 14) == pytest.approx(expected, abs=1e-4)


def test_pooled_test_is_two_way_analysis_of_variance():
    """The residual spread and its degrees of freedom, by the definition with sums of squares."""
    table = noise(5, 4, tables=1)[0]
    total = ((table - table.mean()) ** 2).sum()
    by_rows, by_seeds = 4 * table.mean(1).var() * 5, 5 * table.mean(0).var() * 4
    found = judged(table)
    assert found.df == 12 and found.sigma**2 == pytest.approx((total - by_rows - by_seeds) / 12)
    assert found.p == pytest.approx([oracle.ttest_rel(row, table[0]).pvalue for row in table[1:]], rel=1e-10)
    many = noise(5, 4, tables=50)
    assert np.array_equal(judged(many).p_adjusted, np.stack([judged(one).p_adjusted for one in many]))


def test_the_interval_is_the_test():
    found = judged(noise(6, 4, tables=500) + np.arange(6)[:, None] / 2)
    outside = np.abs(found.mean) > found.half_width()
    pooled = found.pooled
    assert 0.3 < pooled.mean() < 0.9
    assert np.array_equal(outside[pooled], found.p_adjusted[pooled] < 0.05)
    assert np.array_equal(outside[~pooled], found.p[~pooled] < 0.05)  # alone, each by itself


SPREADS = {
    "equal": lambda rows: 1.0,
    "one row 3 times": lambda rows: [1.0] * (rows - 1) + [3.0],
    "one row 5 times": lambda rows: [1.0] * (rows - 1) + [5.0],
    "the control 3 times": lambda rows: [3.0] + [1.0] * (rows - 1),
    "the control 5 times": lambda rows: [5.0] + [1.0] * (rows - 1),
    "from 4 to 1": lambda rows: np.geomspace(4, 1, rows),
    "half of them 3 times": lambda rows: np.where(np.arange(rows) % 2, 3.0, 1.0),
}


@pytest.mark.parametrize("spread", SPREADS)
def test_family_wise_error_with_equal_and_unequal_spreads(spread):
    """At most 5 % of tables without a difference have a verdict: 8,000 tables each, a standard error of .0024 (limit: 3)."""
    for rows, seeds in ((3, 3), (8, 3), (8, 5), (20, 3)):
        tables = noise(rows, seeds, SPREADS[spread](rows), 8000)
        assert (judged(tables).p_adjusted < 0.05).any(-1).mean() <= 0.0573, (rows, seeds)


@pytest.mark.parametrize("rows", [3, 8])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_family_wise_error_with_heavy_tails_ties_and_missing_seeds(rows, seeds):
    rng = np.random.default_rng([rows, seeds])
    size = (4000, rows, seeds)

    def error(tables, resolution=0.0):
        return (judged(tables, resolution).p_adjusted < 0.05).any(-1).mean()

    limit = 0.05 + 3 * 0.0034
    assert error(rng.standard_t(3, size)) <= limit
    assert error(rng.normal(size=size) * np.where(rng.random(size) < 0.1, 5, 1)) <= limit  # one run in ten goes wrong
    for images, rate in (
        (360, 0.02),
        (10_000, 0.015),
        (360, 0.003),
    ):  # errors come in steps: ties must not make winners
        assert error(100 * rng.binomial(images, rate, size) / images, 100 / images) <= limit
    gaps = np.where(rng.random(size) < 0.15, np.nan, rng.normal(size=size))
    testable = (np.isfinite(gaps[:, 1:] - gaps[:, :1]).sum(-1) > 1).all(-1)
    assert error(gaps[testable]) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / max(testable.sum(), 1))


def test_intervals_of_differences_cover_all_together():
    for rows, seeds in ((5, 3), (8, 5)):
        found = judged(noise(rows, seeds) + np.arange(rows)[:, None])
        inside = np.abs(found.mean - np.arange(1, rows)) < found.half_width()
        assert inside[found.pooled].all(-1).mean() >= 0.95 - 0.015
        assert inside[~found.pooled].mean() >= 0.95 - 0.015


@pytest.mark.parametrize("spread", ["equal", "one row 3 times", "the control 3 times"])
def test_rows_at_the_margin_are_rarely_called_equivalent(spread):
    """The two one-sided tests for the family: no row whose true difference is the margin, in 95 % of tables."""
    margin = 8.0
    for rows, seeds in ((3, 3), (8, 3), (8, 5)):
        tables = noise(rows, seeds, SPREADS[spread](rows)) + np.r_[0, np.full(rows - 1, margin)][:, None]
        assert (judged(tables).p_equivalent(margin) < 0.05).any(-1).mean() <= 0.05 + 3 * 0.0034
    near = judged(noise(8, 5)).p_equivalent(margin) < 0.05
    assert near.mean() > 0.95  # and equal rows are found to be


@pytest.mark.parametrize(("rows", "seeds"), [(8, 3), (8, 5), (20, 3), (20, 5)])
def test_more_power_than_paired_tests_with_holm(rows, seeds):
    from dlreg.report.stats import holm

    tables = noise(rows, seeds, math.sqrt(0.5))
    tables[:, 1] += 2.5  # in standard deviations of the paired differences
    found = judged(tables)
    gain = (found.p_adjusted[:, 0] < 0.05).mean() - (holm(found.p)[:, 0] < 0.05).mean()
    assert gain > 0.08


@pytest.mark.parametrize(("rows", "seeds"), [(2, 3), (3, 5), (8, 3), (8, 5), (15, 10)])
def test_the_stated_effect_is_found_at_the_stated_power(rows, seeds):
    for pooled in (rows, None) if rows > 3 else (None,):
        effect = detectable(seeds, rows - 1, pooled)
        tables = noise(rows, seeds, math.sqrt(0.5))
        tables[:, 1] += effect
        found = judged(tables)
        kept = found.pooled if pooled else np.ones(len(tables), bool)
        least = found.p_adjusted[:, 0] if pooled else found.p[:, 0] * (rows - 1)
        assert (least[kept] < 0.05).mean() == pytest.approx(0.8, abs=0.08)


def test_several_controls_are_one_family():
    """Pairs that share nothing, two stars, a chain: at most 5 % of tables with a false verdict, and intervals that cover."""
    for pairs in ([(1, 0), (3, 2), (5, 4), (7, 6)], [(1, 0), (2, 0), (4, 3), (5, 3)], [(1, 0), (2, 1), (3, 2), (4, 3)]):
        for seeds in (3, 5):
            found = measure(noise(max(max(pairs)) + 1, seeds), pairs)
            assert (found.p_adjusted < 0.05).any(-1).mean() <= 0.05 + 3 * 0.0034, pairs
            covered = (np.abs(found.mean) < found.half_width()).all(-1)[found.pooled]
            assert covered.mean() >= 0.95 - 0.015, pairs


def test_rows_compared_through_others_are_one_group():
    table, stars = noise(6, 5, tables=1)[0], [(1, 0), (2, 0), (4, 3), (5, 3)]
    assert measure(table, stars).df == 2 * 2 * 4
    assert measure(table, [*stars, (3, 2)]).df == 5 * 4 == judged(table).df


def test_a_group_that_is_settled_lends_the_seeds_that_it_has():
    table, settled = noise(7, 5, tables=1)[0], [(5, 4), (6, 4)]
    table[4:, 3:] = np.nan
    pairs = [(i, 0) for i in range(1, 4)]
    found = measure(table, pairs, family=[*pairs, *settled])

    def squares(x):
        return ((x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()) ** 2).sum()

    assert found.df == 3 * 4 + 2 * 2
    assert found.sigma**2 == pytest.approx((squares(table[:4]) + squares(table[4:, :3])) / found.df)


def test_a_seed_may_do_another_thing_to_each_group():
    """What it does to the rows of one group leaves the verdicts on all as they are, as it leaves every difference."""
    pairs = [(i, 0) for i in range(1, 4)] + [(i, 4) for i in range(5, 8)]
    tables = noise(8, 5, tables=200)
    shifted = tables + np.where(np.arange(8) < 4, 0, 1)[:, None] * np.array([3.0, -2, 0, 5, 1])
    before, after = measure(tables, pairs), measure(shifted, pairs)
    assert before.df == 2 * 3 * 4 and after.sigma == pytest.approx(before.sigma)
    assert after.p_adjusted == pytest.approx(before.p_adjusted)
    residuals = [values - values.mean(-1, keepdims=True) - values.mean(-2, keepdims=True) + values.mean((-1, -2), keepdims=True)
                 for values in (tables[:, :4], tables[:, 4:])]  # fmt: skip
    assert after.sigma**2 == pytest.approx(sum((r**2).sum((-1, -2)) for r in residuals) / 24)


def grouped(groups, rows, seeds, spread=1.0, of_group=1.0, effect=0.0, tables=8000):
    """Tables in which a seed does another thing to each group, and their pairs; a row 1 of a group differs by `effect`."""
    rng = np.random.default_rng([groups, rows, seeds])
    values = rng.normal(size=(tables, groups, rows, seeds)) * np.broadcast_to(spread, rows)[:, None]
    values += rng.normal(0, 2.5, (tables, groups, 1, seeds)) + effect * (np.arange(rows) == 1)[:, None]
    values *= np.broadcast_to(of_group, groups)[:, None, None]
    pairs = [(rows * g + i, rows * g) for g in range(groups) for i in range(1, rows)]
    return values.reshape(tables, groups * rows, seeds), pairs


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(("groups", "rows", "seeds"), [(3, 4, 5), (6, 4, 5), (6, 2, 5), (3, 4, 3)])
def test_family_wise_error_of_several_groups(spread, groups, rows, seeds):
    """As of one: where rows of every group spread unequally, and where the groups do."""
    for tables, pairs in (
        grouped(groups, rows, seeds, spread=SPREADS[spread](rows)),
        grouped(groups, rows, seeds, of_group=SPREADS[spread](groups)),
    ):
        assert (measure(tables, pairs).p_adjusted < 0.05).any(-1).mean() <= 0.0573


def test_groups_that_seeds_treat_apart_cost_no_power():
    """A difference of 2.8 sd of the paired ones; with one effect of a seed for the whole table 38 % were found."""
    tables, pairs = grouped(4, 4, 5, effect=4.0, tables=2000)
    assert (measure(tables, pairs).p_adjusted[:, ::3] < 0.05).mean() > 0.85


def test_nothing_to_pool():
    assert not judged(noise(3, 5, tables=9)).pooled.any() and not judged(noise(9, 2, tables=9)).pooled.any()
    gap = noise(5, 5, tables=9)
    gap[:, 2, 1] = np.nan
    assert not judged(gap).pooled.any()
    assert detectable(3, 1) == pytest.approx(3.26, abs=0.01) and detectable(5, 1) == pytest.approx(1.68, abs=0.01)
