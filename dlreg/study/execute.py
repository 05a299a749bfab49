"""Running what is missing of a plan, wherever its command says."""

from __future__ import annotations

from collections.abc import Sequence

from dlreg import ui
from dlreg.study.cells import Cell, Launch, run_cells
from dlreg.study.looks import settle
from dlreg.study.notes import record
from dlreg.study.plan import Plan
from dlreg.study.tabulate import wanted


def run(planned: Plan, launch: Launch) -> Plan:
    """Run what is missing, first the trials, then what they chose; returns the plan with every row's runs known."""
    record(planned, wanted(planned))
    if planned.trial_cells:
        ui.err.print(f"tuning by {planned.criterion.name}:")
    known = 0
    while known < len(planned.trial_cells):  # once, or for a sampler that learns as long as it asks for more
        known = len(planned.trial_cells)
        run_cells(planned.trial_cells, launch, planned.criterion.told)
        planned = planned.settled()
    settle(lambda: wanted(planned), lambda cells: run_cells(cells, launch))
    record(planned, wanted(planned))
    return planned


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
