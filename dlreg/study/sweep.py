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
from dlreg.report.judge import arranged, compare, grouped, judge
from dlreg.report.question import Question
from dlreg.report.render import render
from dlreg.run.claim import Busy
from dlreg.run.result import Result
from dlreg.study.cells import Cell, Outcome, over_seeds, run_cells, tell_unfinished
from dlreg.study.grid import grid
from dlreg.study.looks import settle


def sweep(
    arguments: Sequence[str],
    loader: ConfigLoader,
    config: DictConfig,
    launcher: Launcher,
    question: Question | None = None,
) -> None:
    """Check every cell, run what is not finished, report each at once and all at the end.

    Where the question says so, each cell is a row to which seeds are added until it is settled.

    Raises:
        UserError: one cell is bad; nothing was run. RunsFailed: some failed; the others ran.
    """
    question = question or Question()
    cells = grid(arguments, loader, config)
    if question.looks:
        seeds = range(question.looks.max_seeds)
        cells = [cell for row in cells for cell in over_seeds(row.overrides, row.experiment, seeds)]
    settle(lambda: _wanted(cells, question), lambda new: run_cells(new, lambda todo: _launch(todo, launcher)))
    _report(cells, question)


def _wanted(cells: Sequence[Cell], question: Question) -> list[Cell]:
    """All cells; where seeds are added, those of the looks so far and of the next."""
    if question.looks is None:
        return list(cells)
    groups, base = grouped([cell.experiment.result() for cell in cells])
    rows = zip(groups, judge(groups, base, question).rows, strict=True)
    ids = {result.run_id for group, row in rows for result in group.first(row.wanted or 0).results}
    return [cell for cell in cells if cell.experiment.run_id in ids]


def _launch(cells: Sequence[Cell], launcher: Launcher) -> Iterator[tuple[Cell, Outcome]]:
    """One at a time where the launcher works in this process, so that each outcome is told at once; else all together."""
    alone = type(launcher).__name__ == "BasicLauncher"
    for i in range(0, len(cells), 1 if alone else max(1, len(cells))):
        batch = cells[i : i + 1] if alone else cells
        returns = launcher.launch([list(c.overrides) for c in batch], initial_job_idx=i)
        for cell, job in zip(batch, returns, strict=True):
            completed = job.status == JobStatus.COMPLETED and isinstance(job.return_value, Result)
            found = job._return_value
            yield cell, found if completed or isinstance(found, Busy) else str(found)


def _report(cells: Sequence[Cell], question: Question) -> None:
    """The table, and what did not go well."""
    ui.out.print(render(arranged(compare([c.experiment.result() for c in cells], question=question)), "rich"))
    cells = _wanted(cells, question)
    results = [cell.experiment.result() for cell in cells]
    counts = Counter(r.status for r in results)
    ui.err.print(", ".join(f"{n} {status}" for status, n in counts.items()))
    tell_unfinished(cells, results)
    if counts["failed"] + counts["interrupted"]:  # a cell without a result though the sweep went to its end: failed too
        raise RunsFailed
