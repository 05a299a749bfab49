"""Every packaged study: every row composes at every budget, with the catalogue's own words."""

import pytest

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.errors import UserError
from dlreg.study.file import load, studies
from dlreg.study.plan import Request, plan

EVERY_BUDGET = [(name, budget) for name, path in studies().items() for budget in load(path).budgets]


@pytest.mark.parametrize(("name", "budget"), EVERY_BUDGET)
def test_every_row_composes(name, budget):
    try:
        planned = plan(Request(studies()[name], budget))
    except UserError as error:
        if "there is no such option" in str(error) or str(error).startswith("data.corruption: there is no such key"):
            pytest.skip(f"not in the catalogue yet: {error}")
        raise
    assert len(planned.cells) + len(planned.trial_cells) >= len(planned.rows)


@pytest.mark.parametrize("name", studies())
def test_says_where_it_comes_from_and_what_to_expect(name):
    study = load(studies()[name])
    assert "https://" in study.source
    assert study.id and study.text and bool(study.published) != bool(study.theory)
    for budget, level in study.budgets.items():
        assert level.text
        if budget != "paper" and level.overrides and any(row.published for row in study.rows):
            assert level.why_not  # a reduced recipe is never held against a published number


def test_smoke_downloads_nothing():
    """It runs on the embedded digits, or on data that are made."""
    for name, path in studies().items():
        study = load(path)
        words = [word for word in [*study.shared, *study.budgets["smoke"].overrides] if word.startswith("data=")]
        data = compose(words[-1:]).data
        assert words == [] or data["name"] == "digits" or build("data", data).func.generated, name
