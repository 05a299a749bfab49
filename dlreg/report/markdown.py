"""A table as Markdown."""

from __future__ import annotations

from dlreg.errors import printable
from dlreg.report.cells import cells, footer, is_bold, is_words
from dlreg.report.table import Table


def markdown(table: Table) -> str:
    """For a forge: a pipe table, the footer as a list."""
    rows = [cells(table, row) for row in table.rows]
    names = list(rows[0]) if rows else ["run"]
    lines = [f"## {plain(table.title)}\n"] * bool(table.title) + [f"{plain(table.text)}\n"] * bool(table.text)
    lines.append("| " + " | ".join(map(plain, names)) + " |")
    lines.append("|" + "|".join(":--" if is_words(table, name) else "--:" for name in names) + "|")
    for row, shown in zip(table.rows, rows, strict=True):
        bold = {name: "**" * is_bold(table, row, name) for name in shown}
        lines.append("| " + " | ".join(f"{bold[name]}{plain(cell)}{bold[name]}" for name, cell in shown.items()) + " |")
    lines.append("")
    lines += [f"- {plain(name)}: {plain(text)}" for name, text in footer(table)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Words in a Markdown cell: no cell can end early, no tag, link or emphasis can begin."""
    text = " ".join(printable(text).split())
    return "".join("&lt;" if c == "<" else f"\\{c}" if c in "\\|`*_[]" else c for c in text)
