"""Adding seeds until every row is settled, for a study and for `-m` alike. What is settled: `dlreg.report.looks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dlreg.study.cells import Cell


def settle(wanted: Callable[[], Sequence[Cell]], run: Callable[[Sequence[Cell]], None]) -> None:
    """Run what the runs that are there ask for, until they ask for nothing new.

    `wanted` judges them and names every run up to the next look. A run that fails is not tried again before the next command.
    """
    attempted: set[Path] = set()
    while new := [cell for cell in wanted() if cell.experiment.folder not in attempted]:
        run(new)
        attempted |= {cell.experiment.folder for cell in new}
