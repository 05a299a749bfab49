"""Running what is missing of a plan, here or in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dlreg import ui
from dlreg.run.experiment import Busy
from dlreg.run.result import Result
from dlreg.study import workers
from dlreg.study.cells import Cell, run_cells
from dlreg.study.looks import settle
from dlreg.study.notes import record
from dlreg.study.plan import Plan
from dlreg.study.tabulate import wanted


def run(planned: Plan, jobs: int) -> Plan:
    """Run what is missing, first the trials, then what they chose; returns the plan with every row's runs known."""
    record(planned, wanted(planned))
    if planned.trial_cells:
        ui.err.print(f"tuning by {planned.criterion.name}:")
    known = 0
    while known < len(planned.trial_cells):  # once, or for a sampler that learns as long as it asks for more
        known = len(planned.trial_cells)
        run_cells(planned.trial_cells, lambda todo: launch(todo, jobs), planned.criterion.told)
        planned = planned.settled()
    settle(lambda: wanted(planned), lambda cells: run_cells(cells, lambda todo: launch(todo, jobs)))
    record(planned, wanted(planned))
    return planned


def launch(todo: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, Result | str]]:
    """Each cell with its result as it comes: here one after the other, or in `jobs` processes."""
    if jobs == 1:
        assert ui.live is not None
        for cell in todo:
            with ui.live.run(str(cell), cell.experiment.settings.epochs) as report:
                yield cell, _attempt(cell, report)
        return
    yield from workers.run_all(_job, todo, jobs)


def estimate(planned: Plan, todo: Sequence[Cell]) -> float | None:
    """Seconds that these runs, and those not known yet, take one after the other.

    As measured for the row, else for the study, else as the study states it; None if it does not.
    """
    measured: dict[str, list[float]] = {}
    of_cell = {id(cell): row.label for row in planned.rows for cell in row.all_cells}
    for row in planned.rows:
        for cell in row.all_cells:
            if (result := cell.experiment.finished()) and result.seconds:
                measured.setdefault(row.label, []).append(result.seconds)
    overall = [s for seconds in measured.values() for s in seconds] or (
        [planned.budget.run_seconds] if planned.budget.run_seconds else []
    )
    of_row = [measured.get(of_cell[id(cell)], overall) for cell in todo] + [overall] * planned.unknown
    return sum(sum(seconds) / len(seconds) for seconds in of_row) if overall or not of_row else None


def _attempt(cell: Cell, report: Any) -> Result | str:
    try:
        return cell.run(report)
    except Busy as error:
        return str(error)


def _job(cell: Cell) -> Result | str:
    """In a worker process."""
    live = ui.Live(bars=False)
    live.in_sweep = True
    with live.run("", cell.experiment.settings.epochs) as report:
        return _attempt(cell, report)
