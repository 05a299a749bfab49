"""A table as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dlreg.errors import printable
from dlreg.report.cells import cells, footer, is_bold, is_words, spare
from dlreg.report.metrics import METRICS
from dlreg.report.table import Table

_TEX_LINE, _TEX_WRAP = 94, 14  # characters that fit in an article's line at \\scriptsize; of a column of words


def latex(table: Table) -> str:
    r"""A float with booktabs rules; the document needs \usepackage{booktabs} and nothing else.

    It fits the text width of a plain article: what there is no room for is left out, and named.
    """
    rows = [cells(table, row) for row in table.rows]
    columns = {name: _tex_column(table, name, [row[name] for row in rows]) for name in (rows[0] if rows else ["run"])}
    hidden = []
    while sum(width + 1 for _, width in columns.values()) > _TEX_LINE and (name := spare(columns)):
        del columns[name]
        hidden.append(name)
    feet = footer(table)
    lines = [r"% \usepackage{booktabs}"]
    if hidden and feet:
        feet.append(("Left out, for want of room", ", ".join(hidden)))
    elif hidden:
        lines.append(f"% left out, for want of room: {', '.join(hidden)}")
    lines += [
        r"\begin{table}",
        r"\centering",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{2.5pt}",
    ]
    lines += [rf"\caption{{{_tex(table.title or _caption(table))}}}", rf"\label{{tab:{_label(table)}}}"]
    lines += [rf"\begin{{tabular}}{{@{{}}{''.join(align for align, _ in columns.values())}@{{}}}}", r"\toprule"]
    lines += [_tex_row(map(_tex, columns)), r"\midrule"]
    for i, (row, shown) in enumerate(zip(table.rows, rows, strict=True)):
        lines += [r"\midrule"] * table.begins(i)
        lines.append(_tex_row(_tex_cell(shown[name], is_bold(table, row, name), *columns[name]) for name in columns))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\raggedright {_tex(name)}: {_tex(text)}" for name, text in feet]
    return "\n".join([*lines, r"\end{table}"])


def _caption(table: Table) -> str:
    """Of a table without a title: what is measured, and what tells its rows apart."""
    title = METRICS[table.metrics[0]].title
    return f"{title[:1].upper()}{title[1:]}" + (f" by {', '.join(table.columns)}" if table.columns else "")


def _label(table: Table) -> str:
    """To refer to it by: the words of its title, in letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-") or "dlreg"


def _tex_column(table: Table, name: str, texts: list[str]) -> tuple[str, int]:
    """Alignment, and the width in characters: numbers to the right; words to the left, long ones over several lines."""
    width = max(map(len, [name, *texts]))
    if not is_words(table, name):
        return "r", width
    wrapped = max(_TEX_WRAP, *(len(part) for text in [name, *texts] for part in text.split()))
    return ("l", width) if width <= wrapped else (rf"p{{{0.44 * wrapped:.1f}em}}", wrapped)


def _tex_row(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \tabularnewline"  # \\ would end a line of a ragged cell


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "Δ": r"$\Delta$", "—": "---",
    "–": "--", "†": r"$\dagger$", "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "−": "$-$", "→": r"$\to$",
    "α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "σ": r"$\sigma$", "²": "$^2$", "·": r"$\cdot$",
    "[": "{[}", "]": "{]}",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(printable(text).split()))


def _tex_cell(text: str, strong: bool, align: str, width: int) -> str:
    """A cell; a signed number gets a real minus sign."""
    escaped = _tex(text)
    if text[:1] in "+-" and text[1:2].isdigit():
        escaped = f"${escaped[0]}$" + escaped[1:]
    if strong:
        escaped = rf"\textbf{{{escaped}}}"
    return r"\raggedright " * (align != "r" and len(text) > width) + escaped
