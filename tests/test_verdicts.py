"""Verdicts on rows: what is said, what is not, and how often it is wrong. Words here, distributions in test_contrasts."""

import numpy as np
import pytest
from scipy import stats

from dlreg.report.contrasts import detectable
from dlreg.report.stats import Stat
from dlreg.report.verdicts import Rows, Rule, _needed, verdicts

NOISE = np.array([0.0, 0.1, -0.1, 0.05, -0.05])


def rows(values, base=0, **changes):
    """An array (rows, seeds), every row against row `base`."""
    dicts = [dict(enumerate(map(float, row))) for row in values]
    return Rows(dicts, [base if i != base else None for i in range(len(dicts))], **changes)


def words(found):
    return [d and d.verdict for d in found.differences]


def test_differences_are_paired_by_seed():
    base = {0: 5.0, 1: 6.0, 2: 7.0}
    found = verdicts(Rows([base, {1: 5.0, 2: 6.1, 9: 0.0}, {7: 1.0}, {2: 6.0}], [None, 0, 0, 0]), Rule())
    assert words(found) == [None, "better", None, "needs seeds"] or words(found)[1] == "not decided"
    assert found.differences[1].stat.n == 2 and found.differences[1].stat.mean == pytest.approx(-0.95)
    assert found.differences[3].p is None and not found.differences[3].judged
    assert words(verdicts(Rows([base, base], [None, None]), Rule())) == [None, None]


def test_better_worse_and_best():
    clear = [5 + NOISE, 4 + NOISE[::-1] / 10, 6 + NOISE]
    found = verdicts(rows(clear), Rule())
    assert words(found) == [None, "better", "worse"] and found.best == 1
    turned = verdicts(rows(clear), Rule(lower_is_better=False))
    assert words(turned) == [None, "worse", "better"] and turned.best == 2
    assert verdicts(rows(clear, base=1), Rule()).best == 1  # the baseline itself
    close = [5 + NOISE, 4 + NOISE, 4.01 + NOISE[::-1]]
    assert verdicts(rows(close), Rule()).best is None  # two rows cannot be told apart: neither is bold
    assert verdicts(rows([[5.0]]), Rule()).best is None


@pytest.mark.parametrize("p, best", [(0.045, 1), (0.055, None)])
def test_the_best_of_rows_whose_spreads_are_not_pooled_is_corrected_over_all_their_pairs(p, best):
    ahead = stats.t.isf(p / 3 / 2, df=4) * NOISE.std(ddof=1) / np.sqrt(5)  # three rows: three pairs
    top = 4 + NOISE[::-1] / 10
    assert verdicts(rows([5 + NOISE, top, top + NOISE + ahead]), Rule()).best == best


def test_a_row_that_lost_seeds_has_no_verdict_and_is_not_best():
    values = [5 + NOISE, 4 + NOISE[::-1] / 10, 3 + NOISE]
    found = verdicts(rows(values, barred={2: "2 of 7 diverged"}), Rule())
    assert words(found) == [None, "better", "2 of 7 diverged"] and found.best is None
    assert "1 rows" not in found.test and found.test == "a paired t-test at 5 %"  # it is not in the family
    ok = verdicts(rows([*values[:2], 6 + NOISE], barred={2: "2 of 7 diverged"}), Rule())
    assert ok.best == 1
    lost = verdicts(rows(values, barred={0: "1 of 6 failed"}), Rule())
    assert words(lost) == [None, "baseline: 1 of 6 failed", "baseline: 1 of 6 failed"] and lost.best is None


def test_equivalence():
    values = [5 + NOISE, 5.01 + NOISE[::-1], 4 + NOISE, 4.9 + NOISE, [4.0, 6.0, 5.1, 4.2, 5.9]]
    values[3] = 4.9 + NOISE + np.array([0.001, -0.001, 0, 0.001, 0])
    found = verdicts(rows(values), Rule(margin=0.5))
    assert words(found) == [None, "equivalent within 0.5", "better", "better, within 0.5", "not decided"]
    assert found.differences[1].p_equivalent < 0.05 < found.differences[4].p_equivalent
    assert words(verdicts(rows(values[:2]), Rule())) == [None, "not decided"]


def test_identical_and_incomparable_rows_leave_the_family():
    values = [5 + NOISE, 5 + NOISE, 4 + NOISE[::-1], 1 + NOISE]
    found = verdicts(rows(values, same=frozenset({1}), apart={3: "other data (name digits, not mnist)"}), Rule())
    assert words(found) == [None, "identical", "better", "other data (name digits, not mnist)"]
    assert found.differences[1].stat.mean == 0 and found.differences[3].stat is None
    assert found.test == "a paired t-test at 5 %"


def test_contrasts_have_their_own_controls():
    rng = np.random.default_rng(0)
    a, b = 5 + rng.normal(0, 0.1, (2, 5)), 9 + rng.normal(0, 0.1, (2, 5))
    values = [dict(enumerate(row)) for row in (a[0], a[1] - 1, b[0], b[1] - 1)]
    found = verdicts(Rows(values, [None, 0, None, 2]), Rule())
    assert words(found) == [None, "better", None, "better"]
    assert [d and round(d.stat.mean) for d in found.differences] == [None, -1, None, -1]
    assert "over 2 rows" in found.test


def test_seeds_that_agree_by_chance_are_not_certainty():
    one_image = 100 / 360  # the test split of the digits, in percent
    same_step = rows([[2.0, 3.0], [2.0 + one_image, 3.0 + one_image]])
    assert verdicts(same_step, Rule()).differences[1].p < 1e-6  # a spread of zero
    assert words(verdicts(same_step, Rule(one_image))) == [None, "not decided"]
    assert verdicts(rows([[2.0, 3.0], [2.0, 3.0]]), Rule()).differences[1].p == 1.0


def test_each_row_has_its_own_smallest_difference_and_seeds_to_come():
    rng = np.random.default_rng(1)
    quiet, loud = rng.normal(0, 0.02, 3), rng.normal(0, 0.5, 3)
    found = verdicts(rows([5 + NOISE[:3], 5.05 + NOISE[:3] + quiet, 5.6 + NOISE[:3] + loud]), Rule()).differences
    assert found[1].detectable < found[2].detectable / 3
    assert found[2].verdict == "not decided" and found[2].seeds_needed > 3


def test_up_to_a_hundred_seeds_are_advised():
    stat, family = Stat.of([1.0, 0.9, 1.1]), (1, None)
    sizes = [stat.mean / detectable(n, *family) for n in (100, 101)]
    assert [_needed(stat, sd, Rule(), family) for sd in sizes] == [100, None]


@pytest.mark.parametrize("seeds", [3, 5])
def test_no_false_verdict_and_no_false_best(seeds):
    """Both together, in at most 5 % of 300 tables (standard error 1.3 %), in the settings that are worst for a bold row."""
    rng = np.random.default_rng(seeds)
    for means in ([0] * 6 + [-9, -9], [0, -9, -9], [0, 0, -9, -9]):
        means, wrong = np.array(means, float), 0
        for noise in rng.normal(size=(300, len(means), seeds)):
            found = verdicts(rows(noise + means[:, None]), Rule())
            false = [v in ("better", "worse") for v, m in zip(words(found), means, strict=True) if m == 0]
            wrong += any(false) or (found.best is not None and (means == means.min()).sum() > 1)
        assert wrong / 300 <= 0.05 + 3 * 0.013, means
