"""list[Result] -> rows with statistics, verdicts and the protocol behind them. Pure: nothing here runs or reads anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dlreg.errors import UserError
from dlreg.report.comparable import alike, data_of, ended_early, other_data, repeated
from dlreg.report.folds import overlap
from dlreg.report.images import difference
from dlreg.report.label import counterpart, describe, place, plainest, varying, words_of
from dlreg.report.looks import replay, told
from dlreg.report.metrics import METRICS, Select
from dlreg.report.protocol import protocol_of
from dlreg.report.question import Question
from dlreg.report.stats import ALPHA
from dlreg.report.summary import summary
from dlreg.report.table import Published, Row, Table
from dlreg.report.verdicts import Rows, Rule, verdicts
from dlreg.run.result import STATUSES, Result, replicate

NO_IMAGES = "no record of the images"  # under --population images, of runs that kept none


@dataclass(frozen=True)
class Group:
    """The runs of one row before they are judged."""

    label: dict[str, str]
    results: Sequence[Result]
    missing: int = 0  # planned, and not started
    published: Mapping[str, Published] = field(default_factory=dict)
    note: str = ""
    against: int | None = None  # the index of the group that it is compared with; None: the baseline

    @property
    def done(self) -> list[Result]:
        """The runs that have numbers."""
        return [r for r in self.results if r.status == "done"]

    def first(self, seeds: int) -> Group:
        """With the runs of the first seeds alone."""
        results = [r for r in self.results if r.config["seed"] < seeds]
        return replace(self, results=results, missing=max(0, seeds - len({r.config["seed"] for r in results})))

    @property
    def unended(self) -> int:
        """How many planned runs are still to be made, or to be gone on with."""
        return self.missing + sum(r.status == "interrupted" for r in self.results)


def compare(
    results: Sequence[Result], baseline: str | None = None, against: str | None = None, question: Question | None = None
) -> Table:
    """Judge `grouped` runs."""
    return judge(*grouped(results, baseline, against), question)


def grouped(
    results: Sequence[Result],
    baseline: str | None = None,
    against: str | None = None,
    keys: Sequence[str] | None = None,
) -> tuple[list[Group], int | None]:
    """Group runs that differ in the seed alone; label each group by what differs between groups.

    The baseline is the row whose label contains `baseline`, or else the one with the fewest techniques, for each data set by
    itself. With `against`, a word like `reg=none`, each row is compared with the row that has this word and is otherwise the
    same. `keys` are the words that tell rows apart, any of `words_of`; None: those of the config that differ.
    """
    keys = varying([describe(r.config) for r in results]) if keys is None else keys
    found: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for result in results:
        words = words_of(result)
        found.setdefault(tuple((key, words.get(key, "")) for key in keys), []).append(result)
    labels, rows = list(found), list(found.values())
    if against is not None:
        base, controls = None, [counterpart(labels, i, against) for i in range(len(labels))]
    elif baseline is not None:
        base = plainest(labels, baseline)
        controls = [None] * len(labels)
    else:
        base, controls = None, _plain_controls(labels, rows)
    return [Group(dict(label), runs, against=j) for label, runs, j in zip(labels, rows, controls, strict=True)], base


def _plain_controls(
    labels: Sequence[tuple[tuple[str, str], ...]], rows: Sequence[Sequence[Result]]
) -> list[int | None]:
    """For each row the plainest one on the same data; None for that one."""
    kinds: dict[str, list[int]] = {}
    for i, runs in enumerate(rows):
        kinds.setdefault(str(data_of(runs)), []).append(i)
    controls: list[int | None] = [None] * len(rows)
    for kind in kinds.values():
        plain = plainest([labels[i] for i in kind], None)
        for i in kind:
            controls[i] = None if plain is None or i == kind[plain] else kind[plain]
    return controls


def judge(groups: Sequence[Group], base: int | None, question: Question | None = None, **protocol: str) -> Table:
    """The table of these groups. `base` is the baseline's index, for the groups that do not say what they are compared with.

    `protocol` adds lines of its own to the footer.
    """
    question = (question or Question()).of([r for group in groups for r in group.results])
    metric = METRICS[question.metrics[0]]
    controls = [g.against if g.against is not None else base if i != base else None for i, g in enumerate(groups)]
    names = [Row(group.label, {}, {}).name for group in groups]
    samples = tested([r for g in groups for r in g.done], question.select)
    resolution = 100 / max(samples) if metric.counted and samples else 0.0
    rule = Rule(resolution, metric.better == "lower", question.margin, question.population)
    levels, wanted = [ALPHA] * len(groups), None
    if question.looks and overlap(r for group in groups for r in group.results):
        raise UserError(
            "seeds=auto adds seeds until rows are settled, and the folds of data.folds are given: leave one out"
        )
    if question.looks:
        looked = replay(lambda seeds: _at(groups, controls, question, seeds), controls, rule, question.looks)
        groups = [g.first(n) for g, n in zip(groups, looked.seeds, strict=True)]
        found, levels, wanted = looked.found, looked.levels, looked.seeds
        quoted = [Row(group.label, {}, {}).quoted for group in groups]
        protocol = {"Looks": told(looked, quoted, question.looks)} | protocol
    else:
        found = verdicts(_comparison(groups, controls, question) if groups else Rows([], []), rule)
    twice = {i: why for i, g in enumerate(groups) if (why := repeated(g.done))}
    runs = [[] if i in twice else g.done for i, g in enumerate(groups)]
    shown = [
        Row(
            label=group.label,
            status=_status(group),
            metrics={m: METRICS[m].stat(runs[i], question.select, 1 - levels[i]) for m in question.metrics},
            difference=found.differences[i],
            against=None if (j := controls[i]) is None else names[j],
            baseline=controls[i] is None and i in controls,
            best=i == found.best and any(j is not None for j in controls),  # not in a table that compares nothing
            published=dict(group.published),
            note=group.note,
            runs=tuple(runs[i]),
            wanted=wanted[i] if wanted else None,
        )
        for i, group in enumerate(groups)
    ]
    columns = list(dict.fromkeys(key for g in groups for key in g.label))
    shown_metrics = [m for m in question.metrics if not METRICS[m].over or _has(shown, m)]
    lines = protocol_of(shown, [r for g in groups for r in g.results], question, samples, found.test)
    wrong = "; ".join(f"{names[i]}: {why}, which is no sample: left out" for i, why in twice.items())
    if wrong:
        lines["Warning"] = "; ".join(filter(None, [wrong, lines.get("Warning")]))
    table = Table(columns, shown_metrics, shown, lines | protocol, question.select, question.margin)
    words = summary(table)
    return replace(table, test=found.test, protocol=({"In words": words} if words else {}) | table.protocol)


def tested(runs: Sequence[Result], select: Select) -> list[int]:
    """Of how many test samples each run's numbers are."""
    return [int(n) for r in runs if r.test and (n := (r.test[select] or {}).get("samples"))]


def _at(
    groups: Sequence[Group], controls: Sequence[int | None], question: Question, seeds: Sequence[int]
) -> tuple[Rows, list[int]]:
    """What is compared when each row has so many seeds, and how many of its runs are still to come."""
    first = [g.first(n) for g, n in zip(groups, seeds, strict=True)]
    return _comparison(first, controls, question), [g.unended for g in first]


def _comparison(groups: Sequence[Group], controls: Sequence[int | None], question: Question) -> Rows:
    """What each row is compared with, and what keeps it from being compared or judged."""
    metric = METRICS[question.metrics[0]]
    apart = {i: why.split(" (")[0] for i, g in enumerate(groups) if (why := repeated(g.done))}
    runs = [[] if i in apart else g.done for i, g in enumerate(groups)]
    values = [{replicate(r.config): v for r in own if (v := metric.of(r, question.select)) is not None} for own in runs]
    early = {i: why for i, g in enumerate(groups) if (why := ended_early(g.results, len(g.results) + g.missing))}
    pairs = [(i, j) for i, j in enumerate(controls) if j is not None and i not in apart]
    apart |= {i: why for i, j in pairs if (why := other_data(runs[i], runs[j]))}
    same = frozenset(i for i, j in pairs if i not in apart and i not in early and alike(runs[i], runs[j]))
    images = {}
    shared = overlap(r for g in groups for r in g.results)
    if (sign := metric.per_image) and not shared:
        found = {i: difference(runs[i], runs[j], question.select) for i, j in pairs if i not in apart}
        images = {i: replace(d, mean=sign * d.mean + 0.0) for i, d in found.items() if d}
    if question.population == "images":
        early |= {i: NO_IMAGES for i, _ in pairs if not {i} & {*apart, *early, *images}}
    return Rows(values, controls, early, apart, same, images, overlap=shared)


def arranged(table: Table) -> Table:
    """The same table with the baseline on top and the rest in the order of their labels, plain options first."""
    rows = sorted(table.rows, key=lambda row: (not row.baseline, place(row.label.values())))
    return replace(table, rows=rows)


def _has(rows: Sequence[Row], metric: str) -> bool:
    """Whether a row has the number, or may have it when it is run."""
    return any(row.metrics[metric] for row in rows) or not any(row.runs for row in rows)


def _status(group: Group) -> dict[str, int]:
    counts: Counter[str] = Counter(r.status for r in group.results)
    return {s: counts[s] for s in STATUSES if counts[s]} | ({"missing": group.missing} if group.missing else {})
