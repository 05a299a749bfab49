"""`reaches` of a study's row: the claim that a mean is beyond a number, and when no such claim is made."""

from dataclasses import replace

import numpy as np
import pytest
from results import result
from scipy import stats

from dlreg.report import goal
from dlreg.report.table import Row


@pytest.mark.parametrize("higher", [True, False])
def test_p_is_the_one_sided_t_test(higher):
    values = np.random.default_rng(0).normal(98.2, 0.3, 10)
    side = "greater" if higher else "less"
    assert goal.p_value(values, 98.0, higher) == pytest.approx(stats.ttest_1samp(values, 98.0, alternative=side).pvalue)


def test_luck_alone_is_claimed_as_often_as_p_says():
    tables = np.random.default_rng(1).normal(98.0, 0.3, (2000, 10))
    claimed = np.mean([goal.p_value(values, 98.0, True) < 0.05 for values in tables])
    assert 0.035 < claimed < 0.065


def test_needs_a_spread():
    assert goal.p_value(np.array([98.0]), 97.0, True) is None
    assert goal.p_value(np.array([98.02] * 3), 97.0, True) is None  # whose computed deviation is not exactly zero


def test_says_nothing_of_a_row_that_is_not_finished():
    rows = [
        Row({"method": "all ran"}, {"done": 3}, {}, runs=tuple(result(error=e) for e in (1.9, 2.0, 1.8)), goal=97.9),
        Row(
            {"method": "one diverged"}, {"done": 2, "diverged": 1}, {},
            runs=(result(error=1.9), result(error=2.0)), goal=97.9,
        ),
        Row({"method": "no goal"}, {"done": 1}, {}, runs=(result(error=1.9),)),
    ]  # fmt: skip
    text = goal.told(rows, "accuracy", "last")
    assert "all ran: mean 98.10, goal above 97.9, p = .0371" in text
    assert "one diverged: 2 of 3 runs have a number, which say nothing" in text
    assert "no goal" not in text
    assert goal.told(rows[2:], "accuracy", "last") == ""
    assert "goal below 2.1" in goal.told([replace(rows[0], goal=2.1)], "test_error", "last")
