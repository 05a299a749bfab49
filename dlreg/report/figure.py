"""What every picture of a table shares: its style, names of rows, the title, widths of lines that may lie on each other."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.figure import Figure

from dlreg.report.table import Row, Table

# With eight colours, then eight more patterns, a line is told from another on grey paper as well.
PATTERNS = ("-", "--", ":", "-.")
LETTERS = 14  # of a title to an inch
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
