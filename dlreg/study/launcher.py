"""Runs through a launcher of Hydra's: joblib, submitit and any other plugin.

A launcher may hand back nothing when one of its workers is killed. So what became of the runs is read from their folders,
whatever it returned or threw.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode

from dlreg import ui
from dlreg.config import compose
from dlreg.errors import Interrupted, UserError, shown
from dlreg.run.claim import Busy, abandoned, last, refuse_held
from dlreg.study.cells import Cell, Outcome, written
from dlreg.study.workers import end_with_parent, own_environment


@dataclass(frozen=True)
class Jobs:
    """What a launcher runs, `groups[i]` as its i-th job. Returns for each cell why there is no result, if there is none."""

    groups: Sequence[Sequence[Cell]]
    environment: Mapping[str, str] = field(default_factory=own_environment)
    modules: Sequence[str] = field(default_factory=lambda: list(sys.path))  # where plugins may lie
    here: Path = field(default_factory=Path.cwd)  # what relative folders are relative to

    def __call__(self, cfg: Any) -> list[str | None]:
        """In whatever process the launcher chose: joblib keeps those of an earlier sweep."""
        end_with_parent()
        os.chdir(self.here)
        os.environ.update(self.environment)
        sys.path += [folder for folder in self.modules if folder not in sys.path]
        return [_run(cell) for cell in self.groups[HydraConfig.get().job.num]]


class GaveUp(Exception):
    """What a launcher threw, in one line."""


@dataclass(frozen=True)
class Launched:
    """`launched(cells)`: each cell with what became of it, when the launcher is done with all."""

    words: tuple[str, ...]  # the overrides that choose and set the launcher
    per_job: int = 1  # runs that share one job, one after the other
    folders: tuple[str, ...] = ()  # with configs of the user's own

    def check(self) -> None:
        """Raise UserError if there is no such launcher, or it has no such setting."""
        with compose.hydra() as loader:
            compose.load(loader, self.words, self.folders, RunMode.MULTIRUN)

    def __call__(self, todo: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        """Launch them all; again what a launcher gave up on before it began, as long as that leads on."""
        while todo:
            before = [_traces(cell) for cell in todo]
            try:
                said, gave_up = self._launch(todo), False
            except GaveUp as error:
                said, gave_up = [str(error)] * len(todo), True
            lost = [cell for cell, was in zip(todo, before, strict=True) if gave_up and _traces(cell) == was]
            again = lost if len(lost) < len(todo) else []
            for cell, was, why in zip(todo, before, said, strict=True):
                if cell not in again:
                    yield cell, _outcome(cell, was, why)
            todo = again

    def _launch(self, todo: Sequence[Cell]) -> list[str | None]:
        """For each cell why it has no result, as far as the launcher says.

        Raises:
            GaveUp: it threw, and said nothing of any job.
        """
        outputs = Path(todo[0].experiment.settings.outputs)
        groups = [todo[i : i + self.per_job] for i in range(0, len(todo), self.per_job)]
        with compose.hydra() as loader:
            where = str(outputs).replace("\\", "\\\\").replace("'", "\\'")
            cfg = compose.load(loader, [*self.words, f"outputs='{where}'"], self.folders, RunMode.MULTIRUN)
            HydraConfig.instance().set_config(cfg)
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks()),
                task_function=Jobs(groups),
                config=cfg,
            )
            try:
                with _patient():
                    returned = launcher.launch([[] for _ in groups], initial_job_idx=0)
            except (KeyboardInterrupt, Interrupted):
                _tell_under_way(type(launcher).__module__, outputs)
                raise
            except Exception as error:
                raise GaveUp(f"{type(error).__name__}: {shown(error, 200)}") from None
        said: list[str | None] = []
        for group, job in zip(groups, returned, strict=True):
            ended = job.status == JobStatus.COMPLETED
            said += job.return_value if ended else [shown(job._return_value, 200)] * len(group)
        return said


@contextmanager
def _patient() -> Iterator[None]:
    """Let a job of submitit's that ended without a result be an answer as any other.

    Its launcher throws at the first one, while others run, or are queued again after a preemption.
    """
    try:
        import submitit
    except ImportError:
        yield
        return
    kind: Any = submitit.Job
    results = kind.results

    def answer(job: Any) -> list[Any]:
        try:
            return results(job)
        except Exception:
            said = f"job {job.job_id} ended without a result ({job.state.lower()}); see {job.paths.stderr}"
            return [JobReturn(_return_value=said, status=JobStatus.FAILED)]

    kind.results = answer
    try:
        yield
    finally:
        kind.results = results


def _run(cell: Cell) -> str | None:
    live = ui.live or ui.Live(bars=False)
    live.in_sweep = True  # in a worker process too: the lines of several runs at once would be a muddle
    while True:
        try:
            with live.run(live.label(cell.overrides), cell.experiment.settings.epochs) as report:
                cell.run(report)
            return None
        except UserError as error:
            return str(error)
        except Busy:  # a job that was preempted and queued again, on another machine, finds its own claim
            if not abandoned(cell.experiment.folder):
                return None


def _traces(cell: Cell) -> tuple[int, Any]:
    """What changes in the folder when the run is begun, or ended."""
    return written(cell), last(cell.experiment.folder)


def _outcome(cell: Cell, before: tuple[int, Any], said: str | None) -> Outcome:
    try:
        refuse_held(cell.experiment.folder)
    except Busy as error:
        return error
    result = cell.experiment.result()
    if cell.experiment.finished() or (written(cell) != before[0] and result.status == "failed"):
        return result
    return said or "its job ended without a result"


def _tell_under_way(plugin: str, outputs: Path) -> None:
    """What becomes of jobs that this process only waited for, and how to stop them."""
    if "submitit" not in plugin:
        return
    job = HydraConfig.get().launcher
    if "Slurm" in str(job.get("_target_")):
        stop = f"scancel --me --name={job.get('name')}"
    else:
        numbers = sorted(path.name for path in (outputs / ".submitit").glob("*") if path.name.isdecimal())
        stop = f"kill {' '.join(numbers)}" if numbers else "see `ps`"
    ui.err.print(f"the jobs go on; the same command waits for them and prints the table. To stop them: {stop}")
