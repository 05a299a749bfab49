"""A number that varies between rows on the axis that suits it, and lines over it: what was measured, terms, coefficients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dlreg.errors import UserError
from dlreg.report.figure import give_title, name_of
from dlreg.report.frame import COLOURS
from dlreg.report.label import number
from dlreg.report.metrics import METRICS
from dlreg.report.stats import Stat
from dlreg.report.table import Row, Table

MARKERS = "os^Dv<>P"
ROOM = 0.05  # beside the outermost values, of their distance
Points = list[tuple[float, Row]]


def sweep(table: Table) -> Figure:
    """The first metric, and that of training beside it, against the parameter that varies; one line for each choice.

    Where each value has its own control, a second panel shows the differences as shares of what the control has.
    """
    name, parameter_ = table.metrics[0], parameter(table)
    lines = along(table, parameter_)
    shares = len({row.against for row in table.rows if row.against}) > 1
    width, height = (4.6, 3.2) if len(lines) == 1 else (5.8, 3.6)  # the legend names each line
    figure = Figure(figsize=(width * (1 + 0.7 * shares), height), dpi=200)
    axes, *beside = figure.subplots(1, 1 + shares, squeeze=False)[0]
    for i, (label, points) in enumerate(lines.items()):
        look = (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        draw_metric(axes, points, table, look, f"{label}: " if len(lines) > 1 else "")
    for row in table.rows:
        if (flat := row.metrics[name]) and number(row.label.get(parameter_, "")) is None:
            axes.axhline(flat.mean, color="#555555", linestyle="--", linewidth=1, label=name_of(row))
    name_metric(axes, name)
    for panel in beside:
        _draw_shares(panel, lines, table)
    for panel in (axes, *beside):
        set_axis(panel, parameter_, [v for points in lines.values() for v, _ in points])
    figure.legend(loc="outside lower center", ncols=2)
    give_title(figure, table, f"bars: 95 % interval of the mean{', right: of the difference' * shares}")
    return figure


def along(table: Table, key: str) -> dict[str, Points]:
    """The rows that have a number for the parameter, in its order; apart by what else their labels say."""
    lines: dict[str, Points] = {}
    for row in table.rows:
        value = row.label.get(key, "")
        if row.runs and number(value) is not None:
            rest = ", ".join(v for k, v in row.label.items() if k != key and v) or table.metrics[0]
            lines.setdefault(rest, []).append((float(value), row))
    return {label: sorted(points, key=lambda point: point[0]) for label, points in lines.items()}


def draw_metric(axes: Axes, points: Points, table: Table, look: tuple[str, str], prefix: str = "") -> None:
    """The judged metric with its intervals, and hollow and dotted that of training."""
    (colour, marker), name = look, table.metrics[0]
    beside = _of_training(name)
    draw_stats(axes, [(v, row.metrics[name]) for v, row in points], look, prefix + METRICS[name].title)
    if name != beside:
        train = [(v, METRICS[beside].stat(row.runs, table.select)) for v, row in points]
        if known := [(v, s.mean) for v, s in train if s]:
            label = prefix + METRICS[beside].title
            axes.plot(*zip(*known, strict=True), f"{marker}:", color=colour, mfc="white", label=label)


def _draw_shares(axes: Axes, lines: dict[str, Points], table: Table) -> None:
    """Each difference, with its interval, in percent of the mean of the row that it is to."""
    stats = {row.name: row.metrics[table.metrics[0]] for row in table.rows}
    means = {
        name: stat.mean for name, stat in stats.items() if stat and stat.mean > 0
    }  # of nothing there are no shares
    for i, points in enumerate(lines.values()):
        found = [
            (value * 1.03 ** (i - len(lines) / 2), row.difference.stat.times(100 / means[row.against]))  # side by side
            for value, row in points
            if row.against in means and row.difference and row.difference.stat
        ]
        draw_stats(axes, found, (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]), "_no legend")
    axes.axhline(0, color="#555555", linewidth=1, zorder=0)
    axes.set_ylabel("difference in % of\nthe row it is compared with")


def draw_stats(axes: Axes, points: Sequence[tuple[float, Stat | None]], look: tuple[str, str], label: str) -> None:
    """Means with bars for their intervals."""
    stats = [(value, stat) for value, stat in points if stat]
    ends = [(s.low if s.low is not None else s.mean, s.high if s.high is not None else s.mean) for _, s in stats]
    axes.errorbar(
        [v for v, _ in stats], [s.mean for _, s in stats], fmt=f"{look[1]}-", color=look[0], capsize=2.5, label=label,
        yerr=[[s.mean - low for (_, s), (low, _) in zip(stats, ends, strict=True)],
              [high - s.mean for (_, s), (_, high) in zip(stats, ends, strict=True)]],
    )  # fmt: skip


def name_metric(axes: Axes, name: str) -> None:
    """The unit beside the axis, and nothing of it where no value can lie."""
    axes.set_ylabel("%" if METRICS[name].title.endswith("%") else METRICS[name].title)
    (low, high), (least, most) = axes.get_ylim(), METRICS[name].limits
    axes.set_ylim(max(low, least), min(high, most))


def set_axis(axes: Axes, name: str, values: Sequence[float]) -> None:
    """Logarithmic where that suits the values, with a tick at each."""
    values = sorted(set(values))
    axes.set_xlabel(name)
    if geometric(values):
        axes.set_xscale("symlog" if values[0] == 0 else "log", **({"linthresh": values[1]} if values[0] == 0 else {}))
        scale = axes.xaxis.get_transform()
        low, high = scale.transform(values)[[0, -1]]
        room = ROOM * (high - low)
        axes.set_xlim(
            *scale.inverted().transform([low - room, high + room])
        )  # a band's margins are those of a linear axis
    axes.set_xticks(values, [f"{v:g}" for v in values], rotation=45 if len(values) > 6 else 0)
    axes.xaxis.set_minor_locator(NullLocator())


def _of_training(name: str) -> str:
    """The metric of the training set that belongs to one of another set."""
    own = f"train_{name.removeprefix('test_').removeprefix('val_')}"
    return own if own in METRICS else "train_accuracy" if METRICS[name].better == "higher" else "train_error"


def geometric(values: Sequence[float]) -> bool:
    """Whether values are better spaced on a logarithmic axis: ratios between neighbours vary less than steps do."""
    positive = [v for v in values if v > 0]
    if len(positive) < 3 or min(values) < 0:
        return False
    steps = [b - a for a, b in zip(positive, positive[1:], strict=False)]
    ratios = [math.log(b / a) for a, b in zip(positive, positive[1:], strict=False)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def parameter(table: Table) -> str:
    """The key of the rows' labels whose numbers differ most.

    Raises:
        UserError: there is none.
    """
    numeric = [
        key for key in table.columns
        if len({v for row in table.rows if number(v := row.label.get(key, "")) is not None}) > 1
    ]  # fmt: skip
    if not numeric:
        raise UserError("--kind sweep needs rows that differ in a number, such as reg.dropout.p or data.train_size")
    return max(numeric, key=lambda key: len({row.label.get(key) for row in table.rows}))
