"""Coefficients of linear models against the strength of a penalty, or whatever number varies; below them the error."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from dlreg.errors import UserError
from dlreg.report.figure import PATTERNS, give_title
from dlreg.report.frame import COLOURS
from dlreg.report.metrics import METRICS
from dlreg.report.sweep import MARKERS, Points, along, draw_metric, draw_stats, name_metric, parameter, set_axis
from dlreg.report.table import Row, Table

WIDE = 15.0  # times the median that the largest coefficient is: more is read on a logarithmic axis
FAR = 5.0  # times the lowest validation error, above which a path leaves the picture
TICKS = 9  # on a logarithmic axis, at most
NAMED = 7  # beside each other in the legend


def path(table: Table) -> Figure:
    """Every weight, but not the bias, over the parameter; a column of panels for each line of a sweep.

    Raises:
        UserError: the rows differ in no number, or a run has no coefficients.
    """
    key = parameter(table)
    lines = along(table, key)
    figure = Figure(figsize=(4.9 * len(lines), 5.0), dpi=200)
    panels = figure.subplots(2, len(lines), squeeze=False, sharex="col", height_ratios=[3, 2])
    for (above, below), (label, points) in zip(panels.T, lines.items(), strict=True):
        _weights(above, points, table.select)
        draw_metric(below, points, table, ("#000000", MARKERS[0]))
        _validation(below, points, table)
        set_axis(below, key, [value for value, _ in points])
        name_metric(below, table.metrics[0])
        below.legend()
        above.set_ylabel("coefficient")
        if len(lines) > 1:
            above.set_title(label, fontsize=8)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), NAMED))
    several = any(len(row.runs) > 1 for row in table.rows)
    told = "coefficients: mean over runs; bars: 95 % interval of the mean"
    give_title(figure, table, told if several else "")
    return figure


def _validation(axes: Axes, points: Points, table: Table) -> None:
    """The number by which a strength is chosen, where runs have it. What is far above its U is out of the picture."""
    name = f"val_{table.metrics[0].removeprefix('test_')}"
    stats = [(value, METRICS[name].stat(row.runs, table.select)) for value, row in points] if name in METRICS else []
    means = [stat.mean for _, stat in stats if stat]
    if means:
        draw_stats(axes, stats, (COLOURS[0], MARKERS[1]), METRICS[name].title)
    if means and max(means) > FAR * min(means) > 0:
        axes.set_ylim(0.0, top := FAR * min(means))
        for bars in (bars for drawn in axes.containers for bars in drawn[2]):
            bars.set_segments([ends for ends in bars.get_segments() if len(ends) and ends[:, 1].max() <= top])


def _weights(axes: Axes, points: Points, select: str) -> None:
    """A line for each that is not zero everywhere."""
    found = [(value, _coefficients(row, select)) for value, row in points]
    size = max(weights.shape[1] for _, weights in found)
    for i in (i for i in range(size) if any(w[:, i : i + 1].any() for _, w in found)):
        there = [(value, weights[:, i]) for value, weights in found if i < weights.shape[1]]
        values, means = [value for value, _ in there], [w.mean() for _, w in there]
        colour, pattern = COLOURS[i % len(COLOURS)], PATTERNS[i // len(COLOURS) % len(PATTERNS)]
        axes.plot(values, means, pattern, color=colour, marker=".", markersize=3, label=f"w{i + 1}")
    axes.axhline(0, color="#555555", linewidth=0.8, zorder=1)
    sizes = np.abs(np.concatenate([weights.ravel() for _, weights in found]))
    if (middle := float(np.median(sizes[sizes > 0]))) * WIDE < sizes.max():
        axes.set_yscale("symlog", linthresh=10.0 ** np.floor(np.log10(middle)))
        if isinstance(ticks := axes.yaxis.get_major_locator(), SymmetricalLogLocator):
            ticks.set_params(numticks=TICKS)
        axes.set_ylim(*(np.sign(end) * 2 * abs(end) for end in axes.get_ylim()))  # linear margins are none here


def _coefficients(row: Row, select: str) -> np.ndarray:
    """Of each run, `(S, m)`."""
    found = [run.measures.get(select, {}).get("coefficients") for run in row.runs]
    if not found or not all(isinstance(each, list) and len(each) > 1 for each in found):
        raise UserError(
            "--kind path draws the coefficients of models that are linear in their weights, of one output and fitted to squares"
        )
    return np.array(found, dtype=float)[:, 1:]
