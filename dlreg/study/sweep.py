"""`-m`: the grid of the overrides, without what is finished, through any Hydra launcher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from dlreg import ui
from dlreg.errors import RunsFailed
from dlreg.report.judge import arranged, compare
from dlreg.report.render import render
from dlreg.run.result import Result
from dlreg.study.cells import Cell, run_cells, tell_unfinished
from dlreg.study.grid import grid


def sweep(arguments: Sequence[str], loader: ConfigLoader, config: DictConfig, launcher: Launcher) -> None:
    """Check every cell, run what is not finished, report each at once and all at the end.

    Raises:
        UserError: one cell is bad; nothing was run. RunsFailed: some failed; the others ran.
    """
    cells = grid(arguments, loader, config)
    run_cells(cells, lambda todo: _launch(todo, launcher))
    _report(cells)


def _launch(cells: Sequence[Cell], launcher: Launcher) -> Iterator[tuple[Cell, Result | str]]:
    """One at a time where the launcher works in this process, so that each outcome is told at once; else all together."""
    alone = type(launcher).__name__ == "BasicLauncher"
    for i in range(0, len(cells), 1 if alone else max(1, len(cells))):
        batch = cells[i : i + 1] if alone else cells
        returns = launcher.launch([list(c.overrides) for c in batch], initial_job_idx=i)
        for cell, job in zip(batch, returns, strict=True):
            completed = job.status == JobStatus.COMPLETED and isinstance(job.return_value, Result)
            yield cell, job.return_value if completed else str(job._return_value)


def _report(cells: Sequence[Cell]) -> None:
    """The table, and what did not go well."""
    results = [cell.experiment.result() for cell in cells]
    ui.out.print(render(arranged(compare(results)), "rich"))
    counts = Counter(r.status for r in results)
    ui.err.print(", ".join(f"{n} {status}" for status, n in counts.items()))
    tell_unfinished(cells, results)
    if counts["failed"] + counts["interrupted"]:  # a cell without a result though the sweep went to its end: failed too
        raise RunsFailed
