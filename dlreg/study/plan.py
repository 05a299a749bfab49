"""A study at one budget: every run that it needs, by content as any other run. Nothing here runs anything.

study file -> `plan` -> cells (one per row and seed) -> `execute.run` what is missing -> `tabulate.table`
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dlreg.config.compose import compose
from dlreg.errors import UserError
from dlreg.report.spending import Looks
from dlreg.run.experiment import Experiment
from dlreg.run.result import NOT_IDENTITY, NOT_IDENTITY_DATA
from dlreg.study.cells import Cell, over_seeds
from dlreg.study.file import Budget, Study, StudyRow, grid, load
from dlreg.study.overrides import applying, layered
from dlreg.study.tuning import Trial, choose


@dataclass(frozen=True)
class Request:
    """What a command line asks of a study file."""

    path: Path
    budget: str = "smoke"
    seeds: Sequence[int] | None = None  # None: those of the budget
    changes: Sequence[str] = ()  # overrides for every row
    extra_rows: Sequence[StudyRow] = ()
    config_dirs: Sequence[str] = ()
    looks: Looks | None = None  # add seeds until each row is settled, in place of `seeds`
    margin: float | None = None  # in place of the study's own


@dataclass(frozen=True)
class PlannedRow:
    """A row with its runs. A tuned row's runs are known only when its trials are done."""

    row: StudyRow
    label: str
    cells: tuple[Cell, ...]  # one per seed; empty while the trials are not all there
    trials: tuple[Trial, ...] = ()
    chosen: tuple[str, ...] = ()

    @property
    def all_cells(self) -> list[Cell]:
        """The reported runs and the trials."""
        return [*self.cells, *(cell for trial in self.trials for cell in trial.cells)]

    def settled(self, seeds: Sequence[int]) -> PlannedRow:
        """With its reported runs, if its trials are done."""
        if self.cells or not self.trials or not (best := choose(self.trials)):
            return self
        words, experiment = best.cells[0].overrides[:-1], best.cells[0].experiment
        return replace(self, cells=over_seeds(words, experiment, seeds), chosen=best.setting)


@dataclass(frozen=True)
class Plan:
    """A study at one budget: every run it needs."""

    name: str
    study: Study
    budget_name: str
    budget: Budget
    seeds: list[int]
    rows: list[PlannedRow]
    changes: list[str] = field(default_factory=list)  # overrides from the command line
    looks: Looks | None = None  # the seeds are those of the last look, and a row may stop before

    @property
    def trial_cells(self) -> list[Cell]:
        """The runs that choose hyperparameters."""
        return [cell for row in self.rows for trial in row.trials for cell in trial.cells]

    @property
    def cells(self) -> list[Cell]:
        """The runs that are reported, as far as they are known."""
        return [cell for row in self.rows for cell in row.cells]

    @property
    def unknown(self) -> int:
        """How many reported runs wait for trials to say what they are."""
        seeds = self.looks.counts[0] if self.looks else len(self.seeds)
        return sum(seeds for row in self.rows if not row.cells)

    @property
    def outputs(self) -> Path:
        """The folder of the runs."""
        return Path(next(cell.experiment.settings.outputs for row in self.rows for cell in row.all_cells))

    def settled(self) -> Plan:
        """The same plan with the runs of those tuned rows whose trials are all there."""
        return replace(self, rows=[row.settled(self.seeds) for row in self.rows])


def plan(asked: Request) -> Plan:
    """Every run of the study, composed and checked. Nothing is run.

    Raises:
        UserError: an override does not compose, two rows are the same experiment, or seeds are used twice.
    """
    study, changes = load(asked.path), asked.changes
    if asked.budget not in study.budgets:
        allowed = ", ".join(study.budgets)
        raise UserError(f"budget={asked.budget}: {asked.path.stem} has no such budget; allowed: {allowed}")
    if asked.margin is not None:
        study = study.model_copy(update={"margin": asked.margin})
    level = study.budgets[asked.budget]  # type: ignore[index]
    seeds = list(level.seeds if asked.seeds is None else asked.seeds)
    if asked.looks:
        seeds = list(range(asked.looks.max_seeds))
    if both := set(seeds) & set(study.tune_seeds) if any(row.tune for row in study.rows) else set():
        raise UserError(f"seeds={min(both)} is a tuning seed: what chose a setting must not report it")
    # One thread, so that --jobs or none gives the same bits.
    threads = [] if any(word.startswith("threads=") for word in changes) else ["threads=1"]
    base = [filled(word, level) for word in [*threads, *study.shared, *level.overrides]]
    rows = [*study.rows, *asked.extra_rows]
    owns = [[filled(word, level) for word in row.overrides] for row in rows]
    theirs = applying(base, owns, changes, asked.config_dirs)
    planned = []
    for row, own, changed in zip(rows, owns, theirs, strict=True):
        words = layered(base, own, changed)

        def cells(words: Sequence[str], seeds: Sequence[int]) -> tuple[Cell, ...]:
            return over_seeds(words, Experiment.of(compose(words, asked.config_dirs)), seeds)

        trials = tuple(Trial(s, cells(layered(words, s, ()), study.tune_seeds)) for s in grid(row.tune))
        label = filled(row.label, level)
        planned.append(PlannedRow(row, label, () if trials else cells(words, seeds), trials).settled(seeds))
    _refuse_twins(planned)
    mattering = [word for word in changes if _matters(word)]
    return Plan(asked.path.stem, study, asked.budget, level, seeds, planned, mattering, asked.looks)


def filled(text: str, level: Budget) -> str:
    """A text of the study with what this budget puts in for `$NAME`."""
    try:
        return string.Template(text).substitute(level.values)
    except (KeyError, ValueError):
        raise UserError(f"{text!r}: this budget's `values` do not say what stands behind its $") from None


def _matters(word: str) -> bool:
    """Whether an override can change a result."""
    key = word.split("=", 1)[0].lstrip("+")
    return key not in NOT_IDENTITY and key not in [f"data.{name}" for name in NOT_IDENTITY_DATA]


def _refuse_twins(rows: Sequence[PlannedRow]) -> None:
    seen: dict[Path, str] = {}
    for row in rows:
        for folder in {cell.experiment.folder for cell in row.cells}:
            if folder in seen:
                raise UserError(f"rows {seen[folder]!r} and {row.label!r} are the same experiment with these overrides")
            seen[folder] = row.label
