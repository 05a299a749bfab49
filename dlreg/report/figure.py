"""What every picture of a table shares: its style, names of rows, the title, widths of lines that may lie on each other."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlreg.report.table import Row, Table

# With eight colours, then eight more patterns, a line is told from another on grey paper as well.
PATTERNS = ("-", "--", ":", "-.")
LETTERS = 14  # of a title to an inch
PANELS = 4  # beside each other
STYLE: Any = {  # matplotlib knows its keys as 300 literals
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",  # text stays text
    "pdf.fonttype": 42,  # likewise; publishers refuse the other kind
    "svg.hashsalt": "dlreg",  # the same picture, the same bytes
}


def name_of(row: Row) -> str:
    """The row's label, whose dollars are not mathematics."""
    return row.name.replace("$", r"\$")


def give_title(figure: Figure, table: Table, note: str = "") -> None:
    """The table's title and a line on what is drawn."""
    lines = [line for line in (table.title.replace("$", r"\$"), note) if line]
    if lines:
        across = int(LETTERS * figure.get_figwidth())
        figure.suptitle("\n".join(textwrap.fill(line, across) for line in lines), fontsize=9)


def panels(table: Table, draw: Callable[[Axes, Row], None], note: str, inches: tuple[float, float]) -> Figure:
    """A panel for each row that has runs, on common axes; `inches`: the width and height of one."""
    rows = [row for row in table.rows if row.runs]
    across = min(PANELS, len(rows))
    down = math.ceil(len(rows) / across)
    figure = Figure(figsize=(inches[0] * across + 0.6, inches[1] * down + 0.7), dpi=200)
    every = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, row in zip(every.flat, rows, strict=False):
        draw(axes, row)
        name = ", ".join(f"{key} {value}" for key, value in row.label.items() if value) or name_of(row)
        axes.set_title(name, fontsize=8)
    for axes in every.flat[len(rows) :]:
        axes.set_visible(False)
    give_title(figure, table, note)
    return figure
