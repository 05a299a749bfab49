"""The expected best of n trials against n, one line per row: whether their order depends on how much was tuned."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from dlreg.errors import UserError
from dlreg.report.figure import PATTERNS, give_title, name_of
from dlreg.report.frame import COLOURS
from dlreg.report.table import Table
from dlreg.report.tuning import milestones, quantiles

MOST_BANDS = 8  # more of them are a fog


def budget(table: Table) -> Figure:
    """Lines with a band in which half of the subsets of n trials lie; steps where trials build on each other."""
    rows = [(row, row.tuning) for row in table.rows if row.tuning and np.isfinite(row.tuning.scores).any()]
    if not rows:
        raise UserError("--kind tuning needs trials that are done: a study whose rows tune something (dlreg tune)")
    figure = Figure(figsize=(6.4, 3.6 + 0.1 * len(rows)), dpi=200)
    axes = figure.subplots()
    drawn: list[float] = []
    adaptive = any(tuning.adaptive for _, tuning in rows)
    banded = not adaptive and len(rows) <= MOST_BANDS
    for i, (row, tuning) in enumerate(rows):
        best, scores = tuning.best_of, tuning.scores
        n = np.arange(1, len(best) + 1)
        colour, pattern = COLOURS[i % len(COLOURS)], PATTERNS[i // len(COLOURS) % len(PATTERNS)]
        shown = np.isfinite(best)
        step = "steps-post" if tuning.adaptive else "default"
        # The first lines are the widest: one that lies on another does not hide it.
        width = 1.4 + 2.0 * (len(rows) - 1 - i) / max(len(rows) - 1, 1)
        axes.plot(n[shown], best[shown], pattern, color=colour, linewidth=width, drawstyle=step, label=name_of(row))
        axes.plot(n[-1], best[-1], "o", color=colour)
        if banded:
            low, high = np.array([quantiles(scores, int(k), (0.25, 0.75)) for k in n]).T
            inside = shown & np.isfinite(high)
            axes.fill_between(n[inside], low[inside], high[inside], color=colour, alpha=0.15, linewidth=0)
        drawn += best[shown].tolist()
    at = milestones(max(len(tuning.tried) for _, tuning in rows))
    axes.set(xlabel="trials (logarithmic)", ylabel=f"lowest {rows[0][1].quantity}", xscale="log")
    axes.set_xticks(at, [str(n) for n in at])
    axes.xaxis.set_minor_locator(NullLocator())
    if min(drawn) > 0:  # what tells the rows apart lies at the end, where the values are small
        axes.set_yscale("log")
        wide = max(drawn) > 100 * min(drawn)  # where every tick would be printed over the next
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    figure.legend(loc="outside lower center", ncols=min(3, len(rows)))
    band = "band: the middle half of the subsets; " if banded else ""
    note = f"line: expected best of so many trials; {band}dot: the best found"
    if adaptive:
        note = "line: best so far, of trials that build on each other; dot: the best found"
    give_title(figure, table, note)
    return figure
