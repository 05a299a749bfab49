"""A plan -> its table: every planned run accounted for, the published values beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dlreg.report import goal
from dlreg.report.judge import Group, judge
from dlreg.report.metrics import METRICS
from dlreg.report.order import ordered
from dlreg.report.protocol import duration
from dlreg.report.question import Population, Question
from dlreg.report.table import Published, Table
from dlreg.report.tuning import Tried, Tuning, told
from dlreg.study.cells import Cell
from dlreg.study.file import PublishedCell
from dlreg.study.notes import earlier
from dlreg.study.plan import Plan, PlannedRow, filled
from dlreg.study.spaces import edges, gaps, sampled

MOST_SEEDS = 32  # up to which runs are looked for that the table leaves out


def table(planned: Plan, margin: float | None = None, population: Population = "seeds") -> Table:
    """What there is of the study, every planned run accounted for. `margin` takes the place of the study's own."""
    study = planned.study
    labels = [row.row.label for row in planned.rows]
    groups = []
    for row in planned.rows:
        results = [result for cell in row.cells if (result := cell.present())]
        published = {name: _published(cell, planned) for name, cell in row.row.published.items()}
        note = filled(row.row.note, planned.budget)
        missing = len(planned.seeds) - len(results)
        control = labels.index(row.row.against) if row.row.against else None
        groups.append(Group(_label(study.heading, row.label), results, missing, published, note, control))
    tunings = [_trials(row) for row in planned.rows]
    extra = {
        "Source": study.source,
        "Published": study.published,
        "Theory": study.theory,
        "Tuning": _tuning(planned),
        "Trials": told({row.label: found for row, found in zip(planned.rows, tunings, strict=True) if found}),
        "Left out": _left_out(planned),
        "Looks": "" if planned.looks else _by_hand(planned),
    }
    if planned.changes:
        extra["Changed"] = " ".join(planned.changes)
    judged = judge(
        groups,
        labels.index(study.baseline) if study.baseline else None,
        Question(
            list(dict.fromkeys([*study.columns, *_added(study.columns)])),
            study.select,
            margin or study.margin,
            population,
            planned.looks,
        ),
        **{name: text for name, text in extra.items() if text},
    )
    rows = [
        replace(row, goal=plan.row.reaches, tuning=found)
        for row, plan, found in zip(judged.rows, planned.rows, tunings, strict=True)
    ]
    claimed = goal.told(rows, study.columns[0], study.select)
    if claimed and planned.looks:
        claimed = "not judged with seeds=auto: p holds for one look, at seeds that were chosen beforehand"
    if claimed:
        judged = replace(judged, protocol=judged.protocol | {"Goal": claimed})
    title = f"{study.id}: {planned.title}".removeprefix(": ")
    text = " ".join(f"{study.text} {planned.budget.text}".split())
    if planned.looks and (beyond := _beyond(planned, judged)):
        judged = replace(judged, protocol=judged.protocol | {"Left out": beyond})
    whole = replace(
        judged,
        rows=rows,
        title=title,
        text=text,
        picture=study.picture,
        reference="theory" if study.theory else "published",
    )
    best_first = "-" * (METRICS[study.columns[0]].better == "higher") + study.columns[0]
    return ordered(whole, best_first) if study.ranked else whole


def wanted(planned: Plan) -> list[Cell]:
    """The runs that the table is of; where seeds are added, those of the looks so far and of the next."""
    if planned.looks is None:
        return planned.cells
    asked = {row.name: row.wanted for row in table(planned).rows}
    return [cell for row in planned.rows for cell in row.cells[: asked[row.label]]]


def _label(heading: str, label: str) -> dict[str, str]:
    """A column for each part of the heading where the label has as many, so that rows can be told apart by one of them."""
    keys, parts = heading.split(", "), label.split(", ")
    split = len(keys) == len(parts) and all(parts)
    return dict(zip(keys, parts, strict=True)) if split else {heading: label}


def _by_hand(planned: Plan) -> str:
    """What is known of other tables of these rows, at other seeds."""
    others = [seeds for seeds in earlier(planned) if seeds != planned.seeds]
    if not others:
        return ""
    counts = " and ".join(str(len(seeds)) for seeds in others)
    return (
        f"{len(others) + 1}, as far as it is known: these rows were tabulated before at {counts} seeds. The 5 % of the "
        "verdicts holds for one look alone, at seeds that were chosen beforehand; seeds=auto spends it over several"
    )


def _added(columns: Sequence[str]) -> tuple[str, ...]:
    """What a study shows without being asked; a gap is between errors."""
    return ("seconds",) if "test_mse" in columns else ("gap", "seconds")


def _published(cell: PublishedCell, planned: Plan) -> Published:
    changed = f"changed on the command line: {' '.join(planned.changes)}" if planned.changes else None
    reasons = filter(None, [cell.why_not, planned.budget.why_not, changed])
    return Published(cell.value, cell.sd, "; ".join(reasons) or None)


def _trials(row: PlannedRow) -> Tuning | None:
    """The trials that are finished, for the figure; None for a row that tunes nothing."""
    if not row.search:
        return None
    criterion, tried = row.search.criterion, []
    for trial in row.trials:
        if trial.finished:
            score = criterion.score(trial)
            tried.append(Tried(trial.setting, score and score[0] * (100 if criterion.percent else 1), trial.seconds))
    unit, digits = (" %", 2) if criterion.percent else ("", 4)
    return Tuning(criterion.name + unit, digits, row.search.adaptive, tuple(tried))


def _tuning(planned: Plan) -> str:
    """The budget that went into choosing each row's setting, with a flag where it is unequal or a choice on an edge."""
    if not any(row.search for row in planned.rows):
        return ""
    parts, total = [], 0.0
    for row in planned.rows:
        seconds = row.seconds_of_trials
        total += seconds
        chosen = f", chosen {' '.join(row.chosen)}" if row.chosen else ", not finished" if row.search else ""
        text = f"{row.label}: {len(row.trials) or 'no'} setting{'s' * (len(row.trials) != 1)}{_cut(row)}{chosen}"
        text += f" ({duration(seconds)})" * bool(seconds)
        parts.append(", ".join([text, *_doubts(row)]))
    parts[-1] += f". The trials took {duration(total)}, which Budget leaves out" if total else ""
    unequal = len({len(row.trials) for row in planned.rows}) > 1
    seeds = ", ".join(map(str, planned.study.tune_seeds))
    how = f", {planned.study.search} search" if any(sampled(row.row.tune) for row in planned.rows) else ""
    by = f"By {planned.criterion.name} on seed {seeds} (not reported){how}"
    return f"{'UNEQUAL budgets. ' * unequal}{by}. {'; '.join(parts)}"


def _doubts(row: PlannedRow) -> list[str]:
    """Why another setting may be better than the chosen one."""
    if not (row.search and row.chosen):
        return []
    space = row.search.space
    return edges(space, row.chosen) + gaps(space, [trial.setting for trial in row.trials], row.chosen)


def _cut(row: PlannedRow) -> str:
    """How many trials were cut, and what that saved."""
    if not (cut := sum(trial.cut for trial in row.trials)):
        return ""
    planned, spared = map(sum, zip(*(trial.epochs for trial in row.trials), strict=True))
    return f" ({cut} cut by the median rule: {spared} of {planned} epochs spared)"


def _beyond(planned: Plan, judged: Table) -> str:
    """Runs after the look at which their row stopped."""
    pairs = zip(planned.rows, judged.rows, strict=True)
    found = sum(cell.experiment.finished() is not None for row, shown in pairs for cell in row.cells[shown.wanted :])
    return f"{found} runs beyond the look at which their row stopped: what they say came too late" if found else ""


def _left_out(planned: Plan) -> str:
    """Runs of these rows with other seeds: they are there, and not in the table."""
    if planned.looks:
        return ""
    found: dict[int, int] = {}
    for row in planned.rows:
        for seed in set(range(MOST_SEEDS)) - set(planned.seeds) if row.cells else ():
            if row.cells[0].experiment.with_seed(seed).finished():
                found[seed] = found.get(seed, 0) + 1
    if not found:
        return ""
    every = sorted({*planned.seeds, *found})
    return f"{sum(found.values())} runs of other seeds that are there; seeds={','.join(map(str, every))} takes them in"
