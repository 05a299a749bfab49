"""list[Result] -> rows with statistics, verdicts and the protocol behind them. Pure: nothing here runs or reads anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dlreg.report.label import describe, place, plainest, varying
from dlreg.report.metrics import METRICS, Select
from dlreg.report.protocol import protocol_of
from dlreg.report.stats import Difference, Stat, best, differences
from dlreg.run.result import STATUSES, Result

Format = Literal["rich", "md", "latex", "csv", "json", "html"]
FORMATS: tuple[Format, ...] = ("rich", "md", "latex", "csv", "json", "html")
COLUMNS = ("test_error", "val_error", "gap", "seconds")  # of a table of folders; the first one is judged


@dataclass(frozen=True)
class Published:
    """What a paper prints for a row, and whether our run may be held against it."""

    value: float
    sd: float | None = None
    why_not: str | None = None  # why it is not comparable; None: it is


@dataclass(frozen=True)
class Row:
    """One combination of techniques over its seeds. Only runs that are done have numbers."""

    label: dict[str, str]  # what tells it from the others
    status: dict[str, int]  # how many runs ended how; they sum to the runs planned
    metrics: dict[str, Stat | None]
    difference: Difference | None = None  # to the baseline, in the first metric
    baseline: bool = False
    best: bool = False  # the best, and distinguishable from every other row
    published: dict[str, Published] = field(default_factory=dict)
    note: str = ""
    runs: tuple[Result, ...] = ()  # those that are done, for the curves

    @property
    def seeds(self) -> list[int]:
        """Of the runs that are done."""
        return sorted(r.config["seed"] for r in self.runs)

    @property
    def name(self) -> str:
        """The label in one line."""
        return ", ".join(v for v in self.label.values() if v) or "all"


@dataclass(frozen=True)
class Table:
    """Rows, the columns of their labels and of their numbers, and the protocol: what every number means."""

    columns: list[str]
    metrics: list[str]
    rows: list[Row]
    protocol: dict[str, str]
    select: Select = "last"
    title: str = ""
    text: str = ""


@dataclass(frozen=True)
class Group:
    """The runs of one row before they are judged."""

    label: dict[str, str]
    results: Sequence[Result]
    missing: int = 0  # planned, and not started
    published: Mapping[str, Published] = field(default_factory=dict)
    note: str = ""


def compare(
    results: Sequence[Result],
    baseline: str | None = None,
    metrics: Sequence[str] = COLUMNS,
    select: Select = "last",
) -> Table:
    """Group runs that differ in the seed alone; label each group by what differs between groups.

    The baseline is the row whose label contains `baseline`, or else the one with the fewest techniques.
    """
    described = [describe(r.config) for r in results]
    keys = varying(described)
    groups: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for result, words in zip(results, described, strict=True):
        groups.setdefault(tuple((key, words.get(key, "")) for key in keys), []).append(result)
    labels = list(groups)
    base = plainest(labels, baseline)
    return judge([Group(dict(label), groups[label]) for label in labels], base, metrics, select)


def judge(
    groups: Sequence[Group],
    base: int | None,
    metrics: Sequence[str] = COLUMNS,
    select: Select = "last",
    **protocol: str,
) -> Table:
    """The table of these groups: `base` is the baseline's index, the first metric is the one that verdicts are about.

    `protocol` adds lines of its own to the footer.
    """
    metric = METRICS[metrics[0]]
    done = [[r for r in g.results if r.status == "done"] for g in groups]
    values = [{r.config["seed"]: value for r in runs if (value := metric.of(r, select)) is not None} for runs in done]
    samples = [
        r.test[select]["samples"] for runs in done for r in runs if r.test and (r.test[select] or {}).get("samples")
    ]
    resolution = 100 / max(samples) if metric.counted and samples else 0.0
    found = differences(values, base, resolution)
    winner = best(values, base, resolution)
    rows = [
        Row(
            label=group.label,
            status=_status(group),
            metrics={m: Stat.of(METRICS[m].of(r, select) for r in runs) for m in metrics},
            difference=found[i],
            baseline=i == base,
            best=i == winner,
            published=dict(group.published),
            note=group.note,
            runs=tuple(runs),
        )
        for i, (group, runs) in enumerate(zip(groups, done, strict=True))
    ]
    columns = list(dict.fromkeys(key for g in groups for key in g.label))
    lines = protocol_of(rows, [r for g in groups for r in g.results], metrics, select, samples)
    return Table(columns, list(metrics), rows, lines | protocol, select)


def arranged(table: Table) -> Table:
    """The same table with the baseline on top and the rest in the order of their labels, plain options first."""
    rows = sorted(table.rows, key=lambda row: (not row.baseline, place(row.label.values())))
    return replace(table, rows=rows)


def render(table: Table, style: Format) -> Any:
    """A rich renderable for `rich`, else text."""
    if style == "html":
        from dlreg.report.html import page  # jinja2 comes with it

        return page(table)
    from dlreg.report.text import RENDERERS

    return RENDERERS[style](table)


def curve(runs: Iterable[Result], key: str) -> list[tuple[int, Stat]]:
    """A learning curve over runs: the epoch and the values there, errors in percent, while at least one run goes on."""
    by_epoch: dict[int, list[float]] = {}
    scale = 100 if key.endswith("error") else 1
    for run in runs:
        for entry in run.history:
            if entry.get(key) is not None:
                by_epoch.setdefault(entry["epoch"], []).append(scale * entry[key])
    return [(epoch, stat) for epoch in sorted(by_epoch) if (stat := Stat.of(by_epoch[epoch]))]


def _status(group: Group) -> dict[str, int]:
    counts = Counter(r.status for r in group.results)
    return {s: counts[s] for s in STATUSES if counts[s]} | ({"missing": group.missing} if group.missing else {})
