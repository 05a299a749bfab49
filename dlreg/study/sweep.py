"""`-m`: the grid of the overrides, without what is finished, and its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dlreg import ui
from dlreg.errors import RunsFailed
from dlreg.report.judge import arranged, compare, grouped, judge
from dlreg.report.question import Question
from dlreg.report.render import render
from dlreg.study.cells import Cell, Launch, over_seeds, run_cells, tell_unfinished
from dlreg.study.looks import settle


def sweep(cells: Sequence[Cell], launch: Launch, question: Question) -> None:
    """Run what is not finished of the cells, report each at once and all at the end.

    Raises:
        UserError: one cell is bad; nothing was run. RunsFailed: some failed; the others ran.
    """
    settle(lambda: wanted(cells, question), lambda new: run_cells(new, launch))
    _report(cells, question)


def rows(cells: Sequence[Cell], question: Question) -> list[Cell]:
    """Where the question adds seeds until a row is settled, each cell is a row: its runs up to the last look."""
    if question.looks is None:
        return list(cells)
    seeds = range(question.looks.max_seeds)
    return [cell for row in cells for cell in over_seeds(row.overrides, row.experiment, seeds)]


def wanted(cells: Sequence[Cell], question: Question) -> list[Cell]:
    """All cells; where seeds are added, those of the looks so far and of the next."""
    if question.looks is None:
        return list(cells)
    groups, base = grouped([cell.experiment.result() for cell in cells])
    rows = zip(groups, judge(groups, base, question).rows, strict=True)
    ids = {result.run_id for group, row in rows for result in group.first(row.wanted or 0).results}
    return [cell for cell in cells if cell.experiment.run_id in ids]


def _report(cells: Sequence[Cell], question: Question) -> None:
    """The table, and what did not go well."""
    ui.out.print(render(arranged(compare([c.experiment.result() for c in cells], question=question)), "rich"))
    cells = wanted(cells, question)
    results = [cell.experiment.result() for cell in cells]
    counts = Counter(r.status for r in results)
    ui.err.print(", ".join(f"{n} {status}" for status, n in counts.items()))
    tell_unfinished(cells, results)
    if counts["failed"] + counts["interrupted"]:  # a cell without a result though the sweep went to its end: failed too
        raise RunsFailed
