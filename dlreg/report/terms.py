"""Bias, variance and noise against the strength of a penalty, or whatever number varies."""

from __future__ import annotations

from matplotlib.figure import Figure

from dlreg.errors import UserError
from dlreg.report.figure import give_title
from dlreg.report.frame import COLOURS
from dlreg.report.metrics import METRICS
from dlreg.report.sweep import MARKERS, along, draw_stats, parameter, set_axis
from dlreg.report.table import Table

CURVES = ("bias2", "variance")


def terms(table: Table) -> Figure:
    """Each term, the sum of all, and the test error, which is the sum but for chance.

    Raises:
        UserError: the rows differ in no number, or are no repeated draws.
    """
    key = parameter(table)
    lines = along(table, key)
    if len(lines) != 1 or not {*CURVES, "noise", "test_mse"} <= {*table.metrics}:
        raise UserError(
            "--kind terms needs rows along one number with the columns test_mse, bias2, variance and noise, as the study "
            "bias_variance has them"
        )
    [points] = lines.values()
    points = [(value, row) for value, row in points if row.metrics["bias2"]]
    figure = Figure(figsize=(4.9, 3.6), dpi=200)
    axes = figure.subplots()
    for i, name in enumerate(CURVES):
        draw_stats(axes, [(v, row.metrics[name]) for v, row in points], (COLOURS[i], MARKERS[i]), METRICS[name].title)
    whole = [sum(stat.mean for name in (*CURVES, "noise") if (stat := row.metrics[name])) for _, row in points]
    axes.plot([v for v, _ in points], whole, "-", color="#555555", linewidth=3.5, alpha=0.4, label="sum of the three")
    draw_stats(axes, [(v, row.metrics["test_mse"]) for v, row in points], ("#000000", "."), METRICS["test_mse"].title)
    if noise := points[0][1].metrics["noise"]:
        axes.axhline(noise.mean, color=COLOURS[2], linestyle="--", label=METRICS["noise"].title)
    set_axis(axes, key, [value for value, _ in points])
    axes.set_ylabel("squared error")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    figure.legend(loc="outside lower center", ncols=3)
    give_title(figure, table, "bars: 95 % interval over draws of the training set")
    return figure
