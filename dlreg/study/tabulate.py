"""A plan -> its table: every planned run accounted for, the published values beside the measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dlreg.report.judge import Group, judge
from dlreg.report.protocol import duration
from dlreg.report.question import Population, Question
from dlreg.report.table import Published, Table
from dlreg.study.file import PublishedCell
from dlreg.study.plan import Plan, filled

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
        groups.append(Group({"method": row.label}, results, missing, published, note, control))
    extra = {
        "Source": study.source,
        "Published": study.published,
        "Tuning": _tuning(planned),
        "Left out": _left_out(planned),
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
        ),
        **{name: text for name, text in extra.items() if text},
    )
    title = f"{study.id}: {study.title} (budget {planned.budget_name})".removeprefix(": ")
    text = " ".join(f"{study.text} {planned.budget.text}".split())
    return replace(judged, title=title, text=text)


def _added(columns: Sequence[str]) -> tuple[str, ...]:
    """What a study shows without being asked; a gap is between errors."""
    return ("seconds",) if "test_mse" in columns else ("gap", "seconds")


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
    seconds = sum(r.seconds or 0.0 for cell in planned.trial_cells if (r := cell.experiment.finished()))
    parts[-1] += f". The trials took {duration(seconds)}, which Budget leaves out" if seconds else ""
    unequal = len({len(row.trials) for row in planned.rows}) > 1
    seeds = ", ".join(map(str, planned.study.tune_seeds))
    return f"{'UNEQUAL budgets. ' * unequal}By validation error on seed {seeds} (not reported). {'; '.join(parts)}"


def _left_out(planned: Plan) -> str:
    """Runs of these rows with other seeds: they are there, and not in the table."""
    found: dict[int, int] = {}
    for row in planned.rows:
        for seed in set(range(MOST_SEEDS)) - set(planned.seeds) if row.cells else ():
            if row.cells[0].experiment.with_seed(seed).finished():
                found[seed] = found.get(seed, 0) + 1
    if not found:
        return ""
    every = sorted({*planned.seeds, *found})
    return f"{sum(found.values())} runs of other seeds that are there; seeds={','.join(map(str, every))} takes them in"
