"""Measured numbers beside those of a paper or of theory: a panel for each column that has such."""

from __future__ import annotations

from matplotlib.figure import Figure

from dlreg.errors import UserError
from dlreg.report.cells import MARK, published_metrics
from dlreg.report.figure import give_title, name_of
from dlreg.report.frame import COLOURS
from dlreg.report.metrics import METRICS
from dlreg.report.table import Table

MEASURED, THEIRS = COLOURS[0], COLOURS[1]


def beside(table: Table) -> Figure:
    """Rows from the top down; the mean of each with its 95 % interval, and the other number as a diamond.

    Raises:
        UserError: no row has such a number.
    """
    names = published_metrics(table)
    if not names:
        raise UserError(f"--kind beside draws measured beside {table.reference} values, and no row has one")
    figure = Figure(figsize=(1.9 + 1.7 * len(names), 1.6 + 0.27 * len(table.rows)), dpi=200)
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        for i, row in enumerate(table.rows):
            if stat := row.metrics[name]:
                if stat.low is not None and stat.high is not None:
                    axes.plot([stat.low, stat.high], [i, i], "-", color=MEASURED, linewidth=2)
                axes.plot([stat.mean], [i], "o", color=MEASURED)
            if theirs := row.published.get(name):
                face = "none" if theirs.why_not else THEIRS
                axes.plot([theirs.value], [i], "D", color=THEIRS, markerfacecolor=face, markersize=3, zorder=3)
        axes.set_xlabel(METRICS[name].title)
    panels[0].set_yticks(range(len(table.rows)), [name_of(row) for row in table.rows])
    panels[0].set_ylim(len(table.rows) - 0.5, -0.5)
    panels[0].set_ylabel(", ".join(table.columns))
    unsure = any(p.why_not for row in table.rows for p in row.published.values())
    mark = f" ({MARK} hollow: not comparable)" if unsure else ""
    panels[0].plot([], [], "o-", color=MEASURED, linewidth=2, label="mean, 95 % interval")
    panels[0].plot([], [], "D", color=THEIRS, markersize=4, label=table.reference + mark)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    give_title(figure, table)
    return figure
