"""list[Result] -> rows with statistics, verdicts and the protocol behind them. Pure: nothing here runs or reads anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dlreg.report.comparable import alike, data_of, ended_early, other_data, repeated
from dlreg.report.images import difference
from dlreg.report.label import counterpart, describe, place, plainest, varying
from dlreg.report.metrics import METRICS
from dlreg.report.protocol import protocol_of
from dlreg.report.question import Question, columns_for
from dlreg.report.stats import Stat
from dlreg.report.summary import summary
from dlreg.report.table import Published, Row, Table
from dlreg.report.verdicts import Rows, Rule, verdicts
from dlreg.run.result import STATUSES, Result

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


def compare(
    results: Sequence[Result], baseline: str | None = None, against: str | None = None, question: Question | None = None
) -> Table:
    """Group runs that differ in the seed alone; label each group by what differs between groups.

    The baseline is the row whose label contains `baseline`, or else the one with the fewest techniques, for each data set by
    itself. With `against`, a word like `reg=none`, each row is compared with the row that has this word and is otherwise the
    same.
    """
    described = [describe(r.config) for r in results]
    keys = varying(described)
    found: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for result, words in zip(results, described, strict=True):
        found.setdefault(tuple((key, words.get(key, "")) for key in keys), []).append(result)
    labels, rows = list(found), list(found.values())
    if against is not None:
        base, controls = None, [counterpart(labels, i, against) for i in range(len(labels))]
    elif baseline is not None:
        base = plainest(labels, baseline)
        controls = [None] * len(labels)
    else:
        base, controls = None, _plain_controls(labels, rows)
    groups = [Group(dict(label), runs, against=j) for label, runs, j in zip(labels, rows, controls, strict=True)]
    return judge(groups, base, question or Question(columns_for(results)))


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
    question = question or Question()
    metric = METRICS[question.metrics[0]]
    controls = [g.against if g.against is not None else base if i != base else None for i, g in enumerate(groups)]
    twice = {i: why for i, g in enumerate(groups) if (why := repeated(g.done))}
    runs = [[] if i in twice else g.done for i, g in enumerate(groups)]
    rows = _comparison(groups, controls, runs, question) if groups else Rows([], [])
    samples = [
        r.test[question.select]["samples"] for own in runs for r in own
        if r.test and (r.test[question.select] or {}).get("samples")
    ]  # fmt: skip
    resolution = 100 / max(samples) if metric.counted and samples else 0.0
    found = verdicts(rows, Rule(resolution, metric.better == "lower", question.margin, question.population))
    names = [Row(group.label, {}, {}).name for group in groups]
    shown = [
        Row(
            label=group.label,
            status=_status(group),
            metrics={m: Stat.of(METRICS[m].of(r, question.select) for r in runs[i]) for m in question.metrics},
            difference=found.differences[i],
            against=None if (j := controls[i]) is None else names[j],
            baseline=controls[i] is None and i in controls,
            best=i == found.best,
            published=dict(group.published),
            note=group.note,
            runs=tuple(runs[i]),
        )
        for i, group in enumerate(groups)
    ]
    columns = list(dict.fromkeys(key for g in groups for key in g.label))
    lines = protocol_of(shown, [r for g in groups for r in g.results], question, samples, found.test)
    wrong = "; ".join(f"{names[i]}: {why}, which is no sample: left out" for i, why in twice.items())
    if wrong:
        lines["Warning"] = "; ".join(filter(None, [wrong, lines.get("Warning")]))
    table = Table(columns, list(question.metrics), shown, lines | protocol, question.select, question.margin)
    words = summary(table)
    return replace(table, protocol={"In words": words} | table.protocol) if words else table


def _comparison(
    groups: Sequence[Group], controls: Sequence[int | None], runs: Sequence[Sequence[Result]], question: Question
) -> Rows:
    """What each row is compared with, and what keeps it from being compared or judged."""
    metric = METRICS[question.metrics[0]]
    values = [{r.config["seed"]: v for r in own if (v := metric.of(r, question.select)) is not None} for own in runs]
    early = {i: why for i, g in enumerate(groups) if (why := ended_early(g.results, len(g.results) + g.missing))}
    apart = {i: why for i, g in enumerate(groups) if (why := repeated(g.done))}
    apart = {i: why.split(" (")[0] for i, why in apart.items()}
    pairs = [(i, j) for i, j in enumerate(controls) if j is not None and i not in apart]
    apart |= {i: why for i, j in pairs if (why := other_data(runs[i], runs[j]))}
    same = frozenset(i for i, j in pairs if i not in apart and i not in early and alike(runs[i], runs[j]))
    images = {}
    if question.metrics[0] == "test_error":
        images = {i: d for i, j in pairs if i not in apart and (d := difference(runs[i], runs[j], question.select))}
    if question.population == "images":
        early |= {i: NO_IMAGES for i, _ in pairs if not {i} & {*apart, *early, *images}}
    return Rows(values, controls, early, apart, same, images)


def arranged(table: Table) -> Table:
    """The same table with the baseline on top and the rest in the order of their labels, plain options first."""
    rows = sorted(table.rows, key=lambda row: (not row.baseline, place(row.label.values())))
    return replace(table, rows=rows)


def _status(group: Group) -> dict[str, int]:
    counts = Counter(r.status for r in group.results)
    return {s: counts[s] for s in STATUSES if counts[s]} | ({"missing": group.missing} if group.missing else {})
