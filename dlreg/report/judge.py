"""list[Result] -> rows with statistics, verdicts and the protocol behind them. Pure: nothing here runs or reads anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dlreg.report.label import describe, place, plainest, varying
from dlreg.report.metrics import METRICS, Select
from dlreg.report.protocol import protocol_of
from dlreg.report.stats import Stat, best, differences
from dlreg.report.table import Published, Row, Table
from dlreg.run.result import STATUSES, Result

COLUMNS = ("test_error", "val_error", "gap", "seconds")  # of a table of folders; the first one is judged


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


def _status(group: Group) -> dict[str, int]:
    counts = Counter(r.status for r in group.results)
    return {s: counts[s] for s in STATUSES if counts[s]} | ({"missing": group.missing} if group.missing else {})
