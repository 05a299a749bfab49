"""Rows as dots with intervals, and beside them what is judged: the differences, with the margin as a band."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlreg.report.cells import MARK, published
from dlreg.report.figure import give_title, name_of
from dlreg.report.frame import COLOURS
from dlreg.report.metrics import METRICS, Metric
from dlreg.report.stats import Stat
from dlreg.report.table import Row, Table

GREY, LIGHT = "#999999", "#cccccc"
BLUE, RED = COLOURS[0], COLOURS[1]
LEFT, RIGHT = "\N{LEFTWARDS ARROW}", "\N{RIGHTWARDS ARROW}"


def dots(table: Table) -> Figure:
    """Two panels on the same rows: the numbers, and their differences to what each row is compared with."""
    rows = table.rows
    compared = any(row.difference and row.difference.stat for row in rows)
    figure = Figure(figsize=(9.4 if compared else 6.2, 1.6 + 0.3 * len(rows)), dpi=200)
    panels = figure.subplots(1, 2 if compared else 1, sharey=True, squeeze=False)[0]
    _numbers(panels[0], table)
    if compared:
        _differences(panels[1], table)
    for axes in panels:
        axes.grid(axis="y", visible=False)
        for i in filter(table.begins, range(len(rows))):
            axes.axhline(i - 0.5, color=GREY, linewidth=0.8, zorder=0)
    panels[0].set_yticks(range(len(rows)), [_tick(row) for row in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.legend(loc="outside lower center", ncols=3)
    give_title(figure, table)
    return figure


def _tick(row: Row) -> str:
    """The name, and what became of its seeds where that is not `done`."""
    lost = ", ".join(f"{n} {status}" for status, n in row.status.items() if status != "done")
    return name_of(row) + (f" ({lost} of {sum(row.status.values())})" if lost else "")


def _whole(row: Row) -> bool:
    """Whether no planned seed diverged or failed: only then is the mean one of the row."""
    return not row.status.get("diverged") and not row.status.get("failed")


def _numbers(axes: Axes, table: Table) -> None:
    """Each row's mean with its 95 % interval, every seed as a small dot; the published value and the goal as marks."""
    name = table.metrics[0]
    metric = METRICS[name]
    seeds = [[v for r in row.runs if (v := metric.of(r, table.select)) is not None] for row in table.rows]
    measured = [v for values in seeds for v in values]
    near = _reach(measured, metric)
    stats = [row.metrics[name] for row in table.rows]
    shown = [p.value for row in table.rows if (p := row.published.get(name)) and near[0] <= p.value <= near[1]]
    goals = [(row.goal, i) for i, row in enumerate(table.rows) if row.goal is not None]
    low, high = _limits([s.mean for s in stats if s] + shown, measured + [goal for goal, _ in goals], metric)
    axes.set(xlabel=metric.title, xlim=(max(low, metric.limits[0]), min(high, metric.limits[1])))
    for i, (row, values) in enumerate(zip(table.rows, seeds, strict=True)):
        axes.plot(values, [i] * len(values), "o", color=GREY, markersize=3, zorder=2)
        _bar(axes, i, row.metrics[name], _whole(row), 7 if row.best else 5.5)
    _published(axes, table, near)
    if goals:
        axes.plot(*zip(*goals, strict=True), "|", color=RED, markersize=14, markeredgewidth=1.5, label="goal", zorder=4)
    axes.plot([], [], "o", color=GREY, markersize=3, label="one seed")
    axes.plot([], [], "o-", color=BLUE, linewidth=2, label="mean, 95 % interval")
    if not all(_whole(row) for row in table.rows):
        axes.plot([], [], "o", color=BLUE, markerfacecolor="white", label="without the seeds that diverged or failed")


def _differences(axes: Axes, table: Table) -> None:
    """What the verdicts rest on: the interval of each difference, by its side that over new images; the margin as a band."""
    metric = METRICS[table.metrics[0]]
    found = [row.difference for row in table.rows]
    stats = [d.stat for d in found if d and d.stat]
    means = [stat.mean for stat in stats]
    margin = table.margin or 0.0
    axes.set(xlabel=f"difference in {metric.title}, {metric.better} is better")
    low, high = _limits([0.0, -margin, margin, *means], [*means, *_shown_whole(stats)], metric)
    drawn = [0.0, -margin, margin, *means, *_ends(stats), *_ends([d.images for d in found if d and d.images])]
    room = 0.04 * (max(drawn) - min(drawn)) or math.inf  # beyond that there is nothing to see
    axes.set_xlim(max(low, min(drawn) - room), min(high, max(drawn) + room))
    axes.axvline(0, color="#555555", linewidth=1, zorder=0)
    if margin:
        axes.axvspan(-margin, margin, color=LIGHT, alpha=0.5, zorder=0, linewidth=0, label=f"within {margin:g}")
    for i, (row, d) in enumerate(zip(table.rows, found, strict=True)):
        if d and d.images:
            _interval(axes, i + 0.22, d.images, COLOURS[2])
        if d and d.stat:
            _bar(axes, i, d.stat if d.judged else Stat(d.stat.n, d.stat.mean, None, None, None), d.judged, 5.5)
        text = "baseline" if row.baseline else d.verdict if d else ""
        axes.text(1.02, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    if any(d and d.images for d in found):
        axes.plot([], [], "-", color=COLOURS[2], linewidth=2, label="over new test images as well")


def _shown_whole(stats: Sequence[Stat]) -> list[float]:
    """The ends of the intervals without 0, shorter than twice their means; where none is, of those of the usual length."""
    ends = [(stat.low, stat.high) for stat in stats if stat.low is not None and stat.high is not None]
    shown = [pair for pair in ends if pair[0] * pair[1] > 0]
    if not shown:
        usual = 2 * min((high - low for low, high in ends), default=0.0)
        shown = [(low, high) for low, high in ends if high - low <= usual]
    return [end for pair in shown for end in pair]


def _ends(stats: Sequence[Stat]) -> list[float]:
    """Of the intervals that there are."""
    return [end for stat in stats for end in (stat.low, stat.high) if end is not None]


def _bar(axes: Axes, at: float, stat: Stat | None, whole: bool, size: float) -> None:
    """A mean and its interval; the mean is hollow where the row is not whole."""
    if stat is None:
        axes.text(0.5, at, "no number", transform=axes.get_yaxis_transform(), va="center", ha="center", color=GREY)
        return
    _interval(axes, at, stat, BLUE)
    axes.plot([stat.mean], [at], "o", color=BLUE, markerfacecolor=BLUE if whole else "white", markersize=size, zorder=3)


def _interval(axes: Axes, at: float, stat: Stat, colour: str) -> None:
    """What lies beyond the axis ends in an arrow head there."""
    if stat.low is None or stat.high is None:
        return
    low, high = axes.get_xlim()
    axes.plot([max(stat.low, low), min(stat.high, high)], [at, at], "-", color=colour, linewidth=2, zorder=1)
    for cut, edge, head in ((stat.low < low, low, "<"), (stat.high > high, high, ">")):
        if cut:
            axes.plot([edge], [at], head, color=colour, markersize=6, zorder=5, clip_on=False)


def _published(axes: Axes, table: Table, near: tuple[float, float]) -> None:
    """What a paper prints; far away it would squeeze what was measured, and is named beside the axis instead."""
    name = table.metrics[0]
    values = [(i, p) for i, row in enumerate(table.rows) if (p := row.published.get(name))]
    for i, paper in values:
        if near[0] <= paper.value <= near[1]:
            face = "none" if paper.why_not else RED
            axes.plot([paper.value], [i], "D", color=RED, markerfacecolor=face, markersize=5, zorder=4)
            continue
        text = f"{LEFT if paper.value < near[0] else RIGHT} {published(paper, METRICS[name].digits)}"
        axes.text(1.01, i, text, transform=axes.get_yaxis_transform(), va="center", color=RED, fontsize=8)
    unsure = any(paper.why_not for _, paper in values)
    if any(near[0] <= paper.value <= near[1] for _, paper in values):
        label = f"{table.reference}{f' ({MARK} hollow: not comparable)' if unsure else ''}"
        axes.plot([], [], "D", color=RED, markerfacecolor="none" if unsure else RED, label=label)
    elif values:
        label = f"{table.reference}, beyond the axis{f' ({MARK} not comparable)' if unsure else ''}"
        axes.plot([], [], color=RED, linestyle="", marker=f"${LEFT}$", markersize=9, label=label)


def _reach(values: Sequence[float], metric: Metric) -> tuple[float, float]:
    """As far as the axis goes for a published value: twice the range of what was measured, to either side."""
    span = max(max(values) - min(values), 0.05 * _size(values, metric))
    return min(values) - 2 * span, max(values) + 2 * span


def _limits(anchors: Sequence[float], points: Sequence[float], metric: Metric) -> tuple[float, float]:
    """The axis: intervals of few seeds must not push the means together, so it follows `anchors`, and holds every point."""
    room = max(0.6 * (max(anchors) - min(anchors)), 0.05 * _size(anchors, metric), 1e-9)
    low, high = min(anchors) - room, max(anchors) + room
    margin = 0.02 * (high - low)
    return min([low, *(p - margin for p in points)]), max([high, *(p + margin for p in points)])


def _size(values: Sequence[float], metric: Metric) -> float:
    """How large numbers are, as errors: an accuracy of 98 % is a number of 2."""
    ends = [0.0, *filter(math.isfinite, metric.limits)]
    return max(min(abs(value - end) for end in ends) for value in values)
