"""A study at one budget: every run that it needs, by content as any other run. Nothing here runs anything.

study file -> `plan` -> cells (one per row and seed) -> `execute.run` what is missing -> `tabulate.table`
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlreg.config.compose import compose
from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.spending import Looks
from dlreg.run.experiment import Experiment
from dlreg.run.result import NOT_IDENTITY, NOT_IDENTITY_DATA
from dlreg.study.cells import Cell, over_seeds
from dlreg.study.file import OWN, Budget, Study, StudyRow, load
from dlreg.study.overrides import layered, over_rows, told, varied
from dlreg.study.sampling import refuse_missing
from dlreg.study.spaces import Interval, Setting, Space, sampled
from dlreg.study.tuning import Criterion, Search, Trial


@dataclass(frozen=True)
class Request:
    """What a command line asks of a study."""

    path: Path  # its file, or the name of one that a command made
    budget: str | None = None  # None: smoke, or the only one
    seeds: Sequence[int] | None = None  # None: those of the budget
    changes: Sequence[str] = ()  # overrides for every row
    extra_rows: Sequence[StudyRow] = ()
    config_dirs: Sequence[str] = ()
    looks: Looks | None = None  # add seeds until each row is settled, in place of `seeds`
    margin: float | None = None  # in place of the study's own
    tuning: Mapping[str, Any] = field(default_factory=dict)  # in place of the study's trials, search, tune_seeds, prune
    study: Study | None = None  # None: what is in the file


@dataclass(frozen=True)
class PlannedRow:
    """A row with its runs. A tuned row's runs are known only when its trials are done."""

    row: StudyRow
    label: str
    cells: tuple[Cell, ...]  # one per seed; empty while the trials are not all there
    trials: tuple[Trial, ...] = ()
    chosen: tuple[str, ...] = ()
    search: Search | None = None

    @property
    def seconds_of_trials(self) -> float:
        """What the choice of the setting took."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def all_cells(self) -> list[Cell]:
        """The reported runs and the trials."""
        return [*self.cells, *(cell for trial in self.trials for cell in trial.cells)]

    def settled(self, seeds: Sequence[int]) -> PlannedRow:
        """With the trials that can be known now, and with its reported runs if the trials are done."""
        if self.cells or not self.search:
            return self
        trials = self.search.extended(self.trials)
        if len(trials) < self.search.total or not (best := self.search.choose(trials)):
            return replace(self, trials=trials)
        words, experiment = best.cells[0].overrides[:-1], best.cells[0].experiment
        return replace(self, trials=trials, cells=over_seeds(words, experiment, seeds), chosen=best.setting)


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
    remarks: list[str] = field(default_factory=list)  # values of the study that do not hold as they stand there

    @property
    def title(self) -> str:
        """Of the study, and at which of its budgets it is, if it has several to choose from."""
        return self.study.title + f" (budget {self.budget_name})" * (self.budget_name != OWN)

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
        """How many runs wait for trials to say what they are: reported ones, and trials of a sampler that learns."""
        later = sum(row.search.total - len(row.trials) for row in self.rows if row.search)
        seeds = self.looks.counts[0] if self.looks else len(self.seeds)
        return sum(seeds for row in self.rows if not row.cells) + later * len(self.study.tune_seeds)

    @property
    def criterion(self) -> Criterion:
        """What chooses a tuned row's setting."""
        return Criterion(self.study.columns[0], self.study.select)

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
    study, changes = asked.study or load(asked.path), asked.changes
    budget = asked.budget or ("smoke" if len(study.budgets) > 1 else next(iter(study.budgets)))
    if budget not in study.budgets:
        hint = f"{did_you_mean(budget, study.budgets)} Allowed: {', '.join(study.budgets)}."
        raise UserError(f"budget={shown(budget)}: {asked.path.stem} has no such budget.{hint}")
    level = study.budgets[budget]
    seeds = list(level.seeds if asked.seeds is None else asked.seeds)
    if asked.looks:
        seeds = list(range(asked.looks.max_seeds))
    if asked.margin is not None:
        study = study.model_copy(update={"margin": asked.margin})
    study = study.model_copy(update={"trials": level.trials or study.trials} | dict(asked.tuning))
    if both := set(seeds) & set(study.tune_seeds) if any(row.tune for row in study.rows) else set():
        raise UserError(f"seeds={min(both)} is a tuning seed: what chose a setting must not report it")
    # One thread, so that --jobs or none gives the same bits.
    threads = [] if any(word.startswith("threads=") for word in changes) else ["threads=1"]
    base = layered(*([filled(word, level) for word in words] for words in (threads, study.shared, level.overrides)))
    rows = [*study.rows, *asked.extra_rows]
    owns = [[filled(word, level) for word in row.overrides] for row in rows]
    labels = [filled(row.label, level) for row in rows]
    theirs = over_rows(base, owns, changes, asked.config_dirs)
    planned = []
    for row, label, words in zip(rows, labels, theirs, strict=True):
        if row.tune:
            search = _search(row.tune, words, study, asked.config_dirs)
            planned.append(PlannedRow(row, label, (), search=search).settled(seeds))
        else:
            experiment = Experiment.of(compose(words, asked.config_dirs))
            planned.append(PlannedRow(row, label, over_seeds(words, experiment, seeds)))
    if "trials" in asked.tuning and not any(sampled(row.tune) for row in rows):
        raise UserError(f"trials={asked.tuning['trials']}: no row tunes an interval; lists of values are tried whole")
    if asked.tuning.get("prune") and not any(row.tune for row in rows):
        raise UserError("prune=true: no row tunes anything, and reported runs are never cut")
    _refuse_twins(planned)
    mattering = [word for word in changes if _matters(word)]
    remarks = told(base, dict(zip(labels, theirs, strict=True)), changes)
    return Plan(asked.path.stem, study, budget, level, seeds, planned, mattering, asked.looks, remarks)


def filled(text: str, level: Budget) -> str:
    """A text of the study with what this budget puts in for `$NAME`."""
    try:
        return string.Template(text).substitute(level.values)
    except (KeyError, ValueError):
        raise UserError(f"{text!r}: this budget's `values` do not say what stands behind its $") from None


def _search(space: Space, words: tuple[str, ...], study: Study, config_dirs: Sequence[str]) -> Search:
    """How a row is tuned. Raises UserError: what it needs is not said, or not there."""
    criterion = Criterion(study.columns[0], study.select)

    def made(points: Sequence[Setting]) -> list[Trial]:
        trials = []
        for point, (chosen, settings) in zip(points, varied(words, points, config_dirs), strict=True):
            if criterion.on_validation and settings.data.get("val_size") == 0:
                raise UserError(f"tuning chooses by {criterion.name}, but data.val_size=0 leaves none")
            cells = over_seeds(chosen, Experiment.of(settings), study.tune_seeds)
            trials.append(Trial(point, cells))
        return trials

    if study.prune and not criterion.curve:
        raise UserError(
            f"prune=true needs a number that each epoch has, and {criterion.name} chooses: "
            "judge an error, or a squared error, on validation"
        )
    for key, interval in space.items():
        if isinstance(interval, Interval):
            _refuse_beyond(key, interval, words, config_dirs)
    prune = criterion.curve if study.prune else None
    search = Search(space, study.trials or 0, study.search, study.tune_seeds[0], criterion, made, prune)
    if sampled(space):
        refuse_missing(study.search)
        if not study.trials:
            raise UserError(f"{next(iter(space))} is tuned in an interval: say how often, trials=20")
    return search


def _refuse_beyond(key: str, interval: Interval, words: tuple[str, ...], config_dirs: Sequence[str]) -> None:
    """Refuse an interval of which an end is no value of the key, whichever values will be drawn."""
    try:
        varied(words, [(f"{key}={interval.text(end)}",) for end in (interval.low, interval.high)], config_dirs)
    except UserError as error:
        raise UserError(f"{key} is tuned in {interval}: {error}") from None


def _matters(word: str) -> bool:
    """Whether an override can change a result."""
    key = word.split("=", 1)[0].lstrip("+")
    return key not in NOT_IDENTITY and key not in [f"data.{name}" for name in NOT_IDENTITY_DATA]


def _refuse_twins(rows: Sequence[PlannedRow]) -> None:
    seen: dict[object, str] = {}
    for row in rows:
        trials = frozenset(cell.experiment.folder for trial in row.trials for cell in trial.cells)
        # Rows that tune may choose the same setting, and try some of the same; all of the same is the same row.
        for what in {trials} if trials else {cell.experiment.folder for cell in row.cells}:
            if what in seen:
                raise UserError(f"rows {seen[what]!r} and {row.label!r} are the same experiment with these overrides")
            seen[what] = row.label
