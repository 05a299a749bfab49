"""A study at one budget: its runs, what is missing of them, and the table of what there is.

study file -> `plan` -> cells (one per row and seed, by content as any other run) -> `run` what is missing -> `table`
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dlreg import durable, ui
from dlreg.config.compose import compose, in_option
from dlreg.config.schema import GROUPS, walk
from dlreg.errors import UserError, did_you_mean
from dlreg.report.judge import Group, judge
from dlreg.report.table import Published, Table
from dlreg.run import experiment, parts
from dlreg.run.result import NOT_IDENTITY, NOT_IDENTITY_DATA, Result
from dlreg.study import workers
from dlreg.study.file import Budget, PublishedCell, Study, StudyRow, grid, load
from dlreg.study.sweep import Cell, run_cells


@dataclass(frozen=True)
class PlannedRow:
    """A row with its runs. A tuned row's runs are known only when its trials are done."""

    row: StudyRow
    label: str
    cells: tuple[Cell, ...]  # one per seed; empty while the trials are not all there
    trials: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...] = ()  # (setting, its cells on the tuning seeds)
    chosen: tuple[str, ...] = ()


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

    @property
    def trial_cells(self) -> list[Cell]:
        """The runs that choose hyperparameters."""
        return [cell for row in self.rows for _, cells in row.trials for cell in cells]

    @property
    def cells(self) -> list[Cell]:
        """The runs that are reported, as far as they are known."""
        return [cell for row in self.rows for cell in row.cells]


def plan(
    path: Path,
    budget: str = "smoke",
    seeds: Sequence[int] | None = None,
    changes: Sequence[str] = (),
    extra_rows: Sequence[StudyRow] = (),
    config_dirs: Sequence[str] = (),
) -> Plan:
    """Every run of the study, composed and checked. Nothing is run.

    Raises:
        UserError: an override does not compose, two rows are the same experiment, or seeds are used twice.
    """
    study = load(path)
    one_thread = (
        [] if any(word.startswith("threads=") for word in changes) else ["threads=1"]
    )  # the same bits with --jobs or without
    if budget not in study.budgets:
        raise UserError(f"budget={budget}: {path.stem} has no such budget; allowed: {', '.join(study.budgets)}")
    level = study.budgets[budget]  # type: ignore[index]
    chosen_seeds = list(level.seeds if seeds is None else seeds)
    if both := set(chosen_seeds) & set(study.tune_seeds) if any(row.tune for row in study.rows) else set():
        raise UserError(f"seeds={min(both)} is a tuning seed: what chose a setting must not report it")
    rows = []
    base = [_filled(word, level) for word in [*one_thread, *study.shared, *level.overrides]]
    described = [(row, [_filled(o, level) for o in row.overrides]) for row in [*study.rows, *extra_rows]]
    applying = _applying(base, [own for _, own in described], changes, config_dirs)
    for (row, own), changes_here in zip(described, applying, strict=True):
        words = layered(base, own, changes_here)
        trials = tuple(
            (setting, _cells(layered(words, setting, ()), study.tune_seeds, config_dirs)) for setting in grid(row.tune)
        )
        cells = () if trials else _cells(words, chosen_seeds, config_dirs)
        rows.append(_settled(PlannedRow(row, _filled(row.label, level), cells, trials), chosen_seeds))
    planned = Plan(path.stem, study, budget, level, chosen_seeds, rows, [word for word in changes if _matters(word)])
    _refuse_twins(planned)
    return planned


def layered(base: Sequence[str], row: Sequence[str], changes: Sequence[str]) -> list[str]:
    """One list of overrides in which later ones win.

    To choose another option of a group (`optimizer=adam`) takes back what was set inside the option chosen before
    (`optimizer.momentum=.9`); only what a row itself sets stands against the changes from the command line.
    """
    kept: dict[str, tuple[str, bool]] = {}
    for words, own in ((base, False), (row, True), (changes, False)):
        for word in words:
            key = word.split("=", 1)[0]
            if key in GROUPS:
                for other in [k for k, (_, owned) in kept.items() if k.startswith(f"{key}.") and (own or not owned)]:
                    del kept[other]
            was_own = kept.pop(key, ("", False))[1]
            kept[key] = (word, own or (was_own and words is not changes))
    return [word for word, _ in kept.values()]


def _applying(
    base: Sequence[str], rows: Sequence[Sequence[str]], changes: Sequence[str], config_dirs: Sequence[str]
) -> list[list[str]]:
    """For each row the changes from the command line, without the values for options that it has not chosen.

    Raises:
        UserError: a change applies to no row.
    """
    inside = {word: key for word in changes if in_option(key := word.split("=", 1)[0])}
    if not inside:
        return [list(changes) for _ in rows]
    others = [word for word in changes if word not in inside]
    keys = [{key for key, _ in walk(compose(layered(base, row, others), config_dirs).model_dump())} for row in rows]
    known = {key for there in keys for key in there if not key.endswith(".name")}
    for key in inside.values():
        if key not in known:
            raise UserError(f"{key}: no row of this study has such a key.{did_you_mean(key, known)}")
    return [[word for word in changes if inside.get(word) in {None, *there}] for there in keys]


def settle(planned: Plan) -> Plan:
    """The same plan with the runs of those tuned rows whose trials are all there."""
    rows = [_settled(row, planned.seeds) for row in planned.rows]
    return Plan(planned.name, planned.study, planned.budget_name, planned.budget, planned.seeds, rows, planned.changes)


def run(planned: Plan, jobs: int) -> Plan:
    """Run what is missing, first the trials, then what they chose; returns the plan with every row settled."""
    record(planned)
    if planned.trial_cells:
        ui.err.print("tuning on validation:")
        run_cells(planned.trial_cells, lambda todo: launch(todo, jobs))
        planned = settle(planned)
        record(planned)
    if planned.cells:
        run_cells(planned.cells, lambda todo: launch(todo, jobs))
    return planned


def launch(todo: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, Result | str]]:
    """Each cell with its result as it comes: here one after the other, or in `jobs` processes."""
    if jobs == 1:
        assert ui.live is not None
        for cell in todo:
            with ui.live.run(" ".join(cell.overrides), cell.settings.epochs) as report:
                yield cell, _attempt(cell, report)
        return
    yield from workers.run_all(_job, todo, jobs)


def table(planned: Plan) -> Table:
    """What there is of the study, every planned run accounted for."""
    groups = []
    for row in planned.rows:
        results = [result for cell in row.cells if (result := present(cell))]
        published = {name: _published(cell, planned) for name, cell in row.row.published.items()}
        note = _filled(row.row.note, planned.budget)
        groups.append(Group({"method": row.label}, results, len(planned.seeds) - len(results), published, note))
    study = planned.study
    labels = [row.row.label for row in planned.rows]
    extra = {"Source": study.source, "Published": study.published, "Tuning": _tuning(planned)}
    if planned.changes:
        extra["Changed"] = " ".join(planned.changes)
    judged = judge(
        groups,
        labels.index(study.baseline),
        list(dict.fromkeys([*study.columns, "gap", "seconds"])),
        study.select,
        **{name: text for name, text in extra.items() if text},
    )
    title = f"{study.id}: {study.title} (budget {planned.budget_name})".removeprefix(": ")
    text = " ".join(f"{study.text} {planned.budget.text}".split())
    return replace(judged, title=title, text=text)


def present(cell: Cell) -> Result | None:
    """What there is of a planned run; None if it was never started."""
    folder = cell.folder
    if not (folder / "config.json").exists() and not (folder / "result.json").exists():
        return None
    return experiment.result_of(cell.settings)


def estimate(planned: Plan, todo: Sequence[Cell]) -> float:
    """Seconds that these runs take one after the other: as measured for the row, else for the study, else as stated."""
    measured: dict[str, list[float]] = {}
    of_cell = {id(cell): row.label for row in planned.rows for cell in _all_cells(row)}
    for row in planned.rows:
        for cell in _all_cells(row):
            if (result := experiment.finished_result(cell.folder)) and result.seconds:
                measured.setdefault(row.label, []).append(result.seconds)
    overall = [s for seconds in measured.values() for s in seconds] or [planned.budget.run_seconds]
    of_row = [measured.get(of_cell[id(cell)], overall) for cell in todo]
    return sum(sum(seconds) / len(seconds) for seconds in of_row)


def record(planned: Plan) -> None:
    """Leave a note of the plan beside the runs, from which `dlreg study` tells how far it is."""
    folder = Path(_outputs(planned)) / ".studies"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs = [cell.folder.name for cell in [*planned.trial_cells, *planned.cells]]
        unknown = sum(len(planned.seeds) for row in planned.rows if not row.cells)
        durable.write_json(folder / f"{planned.name}-{planned.budget_name}.json", {"runs": runs, "unknown": unknown})
    except OSError as error:
        raise UserError(f"outputs={folder.parent} cannot be written: {error.strerror or error}") from None


def _attempt(cell: Cell, report: Any) -> Result | str:
    try:
        return experiment.run(cell.settings, report)
    except experiment.Busy as error:
        return str(error)


def _job(cell: Cell) -> Result | str:
    """In a worker process."""
    live = ui.Live(bars=False)
    live.in_sweep = True
    with live.run("", cell.settings.epochs) as report:
        return _attempt(cell, report)


def _cells(words: Sequence[str], seeds: Sequence[int], config_dirs: Sequence[str]) -> tuple[Cell, ...]:
    settings = parts.resolve(compose(words, config_dirs))
    return tuple(Cell((*words, f"seed={seed}"), settings.model_copy(update={"seed": seed})) for seed in seeds)


def _matters(word: str) -> bool:
    """Whether an override can change a result."""
    key = word.split("=", 1)[0].lstrip("+")
    return key not in NOT_IDENTITY and key not in [f"data.{name}" for name in NOT_IDENTITY_DATA]


def _settled(row: PlannedRow, seeds: Sequence[int]) -> PlannedRow:
    """With its reported runs, if its trials are done: the setting with the lowest mean validation error, then loss."""
    if row.cells or not row.trials:
        return row
    scores = []
    for setting, cells in row.trials:
        results = [experiment.finished_result(cell.folder) for cell in cells]
        if any(result is None for result in results):
            return row
        vals = [r.val["last"] if r and r.status == "done" and r.val else None for r in results]
        known = [v for v in vals if v]
        if len(known) == len(cells):
            scores.append((sum(v["error"] for v in known), sum(v["loss"] for v in known), setting, cells))
    if not scores:  # every setting diverged: report the first, which will diverge as well, and say so
        scores = [(0.0, 0.0, *row.trials[0])]
    _, _, setting, cells = min(scores, key=lambda s: s[:2])
    words = cells[0].overrides[:-1]
    settings = cells[0].settings
    reported = tuple(Cell((*words, f"seed={s}"), settings.model_copy(update={"seed": s})) for s in seeds)
    return PlannedRow(row.row, row.label, reported, row.trials, setting)


def _refuse_twins(planned: Plan) -> None:
    seen: dict[str, str] = {}
    for row in planned.rows:
        for folder in {str(cell.folder) for cell in row.cells}:
            if folder in seen:
                raise UserError(f"rows {seen[folder]!r} and {row.label!r} are the same experiment with these overrides")
            seen[folder] = row.label


def _filled(text: str, level: Budget) -> str:
    try:
        return string.Template(text).substitute(level.values)
    except (KeyError, ValueError):
        raise UserError(f"{text!r}: this budget's `values` do not say what stands behind its $") from None


def _published(cell: PublishedCell, planned: Plan) -> Published:
    changed = f"changed on the command line: {' '.join(planned.changes)}" if planned.changes else None
    reasons = filter(None, [cell.why_not, planned.budget.why_not, changed])
    return Published(cell.value, cell.sd, "; ".join(reasons) or None)


def _tuning(planned: Plan) -> str:
    """The budget that went into choosing each row's setting, with a flag where it is unequal."""
    if not any(row.trials for row in planned.rows):
        return ""
    parts = []
    for row in planned.rows:
        chosen = f", chosen {' '.join(row.chosen)}" if row.chosen else ", not finished" if row.trials else ""
        parts.append(f"{row.label}: {len(row.trials) or 'no'} settings{chosen}")
    unequal = len({len(row.trials) for row in planned.rows}) > 1
    seeds = ", ".join(map(str, planned.study.tune_seeds))
    return f"{'UNEQUAL budgets. ' * unequal}By validation error on seed {seeds} (not reported). {'; '.join(parts)}"


def _all_cells(row: PlannedRow) -> list[Cell]:
    return [*row.cells, *(cell for _, cells in row.trials for cell in cells)]


def _outputs(planned: Plan) -> str:
    return next(cell.settings.outputs for row in planned.rows for cell in _all_cells(row))
