"""What is to be run: cells, one per experiment, and running those of them that are not finished."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from dlreg import ui
from dlreg.errors import UserError
from dlreg.report.label import outcome
from dlreg.run import claim
from dlreg.run.claim import Busy
from dlreg.run.experiment import Experiment
from dlreg.run.loop import Report
from dlreg.run.rehearse import rehearse
from dlreg.run.result import Result
from dlreg.study.pruning import Cut, Watch


@dataclass(frozen=True)
class Cell:
    """One experiment of many, and the overrides that tell it from the others."""

    overrides: tuple[str, ...]
    experiment: Experiment
    watch: Watch | None = None  # of a trial: who may cut it
    rehearsed: bool = False  # by the command that runs it, before the first of its cells

    def __str__(self) -> str:
        return " ".join(self.overrides)

    def present(self) -> Result | None:
        """What there is of the run; None if it was never started."""
        folder = self.experiment.folder
        if not (folder / "config.json").exists() and not (folder / "result.json").exists():
            return None
        return self.experiment.result()

    @property
    def cut(self) -> bool:
        """Whether its trial was cut: it is not run to its end, and has no score."""
        return self.watch is not None and bool(self.watch.notes()) and self.experiment.finished() is None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to run of it."""
        return self.experiment.finished() is not None or self.cut

    def run(self, report: Report) -> Result:
        """Run it to its end, or until it is cut.

        Raises:
            UserError, Busy, Interrupted, KeyboardInterrupt: as `Experiment.run`.
        """
        experiment = self.experiment
        if self.watch is None:
            return experiment.run(report, self.rehearsed)
        if self.cut and not experiment.settings.rerun:  # on another tuning seed, meanwhile
            return replace(experiment.result(), message="its trial was cut on another seed")
        try:
            watched = self.watch.over(report, experiment.folder, experiment.settings.epochs)
            return experiment.run(watched, self.rehearsed)
        except Cut:
            return experiment.result()


def over_seeds(words: Sequence[str], experiment: Experiment, seeds: Iterable[int]) -> tuple[Cell, ...]:
    """One cell for each seed."""
    return tuple(Cell((*words, f"seed={seed}"), experiment.with_seed(seed)) for seed in seeds)


TRIES = 2  # that one command takes over a run whose owner is gone
Outcome = Result | Busy | str  # a result; somebody else has it in hand; why there is none
Launch = Callable[[Sequence[Cell]], Iterator[tuple[Cell, Outcome]]]  # cells -> each with what became of it


def run_cells(cells: Sequence[Cell], launch: Launch, told: Callable[[Result], str] = outcome) -> None:
    """Run what is not finished: refuse what cannot work before anything starts, tell each outcome as it comes.

    What another process has in hand is passed over, and come back to at the end: it is done then, or its owner is gone.

    Raises:
        UserError: one cell is bad; nothing was run.
    """
    todo = [c for c in cells if not c.experiment.earlier() and (c.experiment.settings.rerun or not c.cut)]
    _rehearse(todo)
    todo = [replace(cell, rehearsed=True) for cell in todo]
    ui.err.print(f"{len(cells)} runs: {len(cells) - len(todo)} finished before, {len(todo)} to do")
    standing = Standing([c.experiment.folder for c in cells])
    with _displayed(bool(cells[0].experiment.settings.progress)) as live:
        live.shared = frozenset.intersection(*(frozenset(c.overrides) for c in cells))
        with live.sweep(len(cells), standing.now):
            for number, (cell, found) in enumerate(_shared(todo, launch), start=1):
                line = told(found) if isinstance(found, Result) else f"failed: {found}"
                if not isinstance(found, Result) or found.status == "failed":
                    standing.failed.add(cell.experiment.folder)
                ui.err.print(f"[{number}/{len(todo)}] {live.label(cell.overrides)}: {line}", markup=False)


@dataclass
class Standing:
    """How far a sweep is, whoever runs its runs: processes of this command, a launcher's, or other commands in the folder."""

    folders: Sequence[Path]
    failed: set[Path] = field(default_factory=set)  # as far as this command was told

    def now(self) -> tuple[int, str]:
        """`(runs that are over, "3/12 done, 2 running, 1 failed")`."""
        open_ = [folder for folder in self.folders if not (folder / "result.json").exists()]
        over, running = {*self.folders} - {*open_}, sum(map(claim.in_hand, open_))
        note = f"{len(over - self.failed)}/{len(self.folders)} done, {running} running"
        return len(over | self.failed), note + f", {len(self.failed)} failed" * bool(self.failed)


def _shared(todo: Sequence[Cell], launch: Launch) -> Iterator[tuple[Cell, Result | str]]:
    """`launch`, as often as it takes until no run is in another process's hand."""
    watch, held = claim.Watch(), list[Cell]()
    before = {cell.experiment.folder: written(cell) for cell in todo}
    tries = Counter[Path]()
    while todo or held:
        mine = len(held)
        for cell, found in launch(todo) if todo else ():
            if isinstance(found, Busy):
                held.append(cell)
            else:
                yield cell, found
        if len(held) > mine:
            ui.err.print(f"{len(held)} running elsewhere: waiting until they are done, or their process is gone")
        todo = []
        for cell in [cell for cell in held if watch.free(cell.experiment.folder)]:
            held.remove(cell)
            result = cell.experiment.result()
            if written(cell) != before[cell.experiment.folder] and result.status != "interrupted":
                yield cell, result
            elif tries[cell.experiment.folder] == TRIES:
                yield cell, "every process that had it in hand died (out of memory?)"
            else:
                todo.append(cell)
                tries[cell.experiment.folder] += 1
        if held and not todo:
            time.sleep(claim.POLL)


def written(cell: Cell) -> int:
    """When its result was last written, in whatever clock; 0: there is none."""
    try:
        return (cell.experiment.folder / "result.json").stat().st_mtime_ns
    except OSError:
        return 0


@contextmanager
def _displayed(bars: bool) -> Iterator[ui.Live]:
    """The display of the sweep in hand; gone when it ends, however it ends."""
    with ui.Live(bars) as live:
        ui.live = live
        try:
            yield live
        finally:
            ui.live = None


def tell_unfinished(cells: Sequence[Cell], results: Sequence[Result | None]) -> None:
    """What did not go well, once more at the end, with its folder."""
    for cell, result in zip(cells, results, strict=True):
        if result and result.status in ("failed", "interrupted") and not cell.cut:
            ui.err.print(f"{result.status}: {cell}: {result.message}", markup=False)
            ui.err.print(f"  {cell.experiment.folder}", markup=False)


def _rehearse(cells: Sequence[Cell]) -> None:
    """Refuse what cannot work, once for each kind of cell: the seed does not matter."""
    seen, prepared_for, data = set(), None, None
    for cell in cells:
        experiment = cell.experiment.with_seed(0)
        if experiment.folder in seen:
            continue
        seen.add(experiment.folder)
        try:
            if data is None or (experiment.settings.data, experiment.settings.device) != prepared_for:
                data = experiment.data()
                prepared_for = experiment.settings.data, experiment.settings.device
            rehearse(experiment.settings, data)
        except UserError as error:
            raise UserError(f"{error}  [in {cell}]") from None
