"""A table for a terminal; what a narrow one has no room for is left out, and named."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from dlreg.errors import printable
from dlreg.report.cells import cells, footer, is_bold, is_words, spare
from dlreg.report.table import Table


def rich(table: Table) -> Any:
    """Title, table and footer, to be printed by a rich console."""
    head = [Text(printable(line)) for line in (table.title, table.text) if line]
    feet = [Text.assemble((f"{printable(name)}: ", "bold"), printable(text)) for name, text in footer(table)]
    return Group(*head, _Fitting(table), *feet)


class _Fitting:
    """A rich renderable that knows its width only when it is drawn."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Any, options: Any) -> Any:
        rows = [{name: printable(text) for name, text in cells(self.table, row).items()} for row in self.table.rows]
        shown = list(rows[0]) if rows else ["run"]
        hidden = []
        while console.measure(drawn := self._draw(rows, shown), options=options.update(max_width=1000)).minimum > (
            options.max_width
        ) and (name := spare(shown) or self._last(shown)):
            shown.remove(name)
            hidden.append(name)
        yield drawn
        if hidden:
            yield Text(f"no room here for {', '.join(hidden)}: a wider terminal or --format shows them")

    def _last(self, shown: list[str]) -> str | None:
        """The last column, unless only the labels and the judged number are left."""
        return shown[-1] if len(shown) > len(self.table.columns) + 1 else None

    def _draw(self, rows: list[dict[str, str]], shown: list[str]) -> Any:
        drawn = RichTable(box=box.SIMPLE_HEAD)
        for name in shown:
            words = is_words(self.table, name)
            texts = [name, *(values[name] for values in rows)]
            least = max(len(part) for text in texts for part in (text.split() if words else [text]))
            drawn.add_column(name, justify="left" if words else "right", min_width=least, no_wrap=not words)
        for i, (row, values) in enumerate(zip(self.table.rows, rows, strict=True)):
            if self.table.begins(i):
                drawn.add_section()
            drawn.add_row(*(Text(values[name], "bold" * is_bold(self.table, row, name)) for name in shown))
        return drawn
