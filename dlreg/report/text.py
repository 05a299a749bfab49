"""A table as text: for a terminal, Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dlreg.report.metrics import METRICS
from dlreg.report.stats import Stat
from dlreg.report.table import Published, Row, Table
from dlreg.run.result import STATUSES

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = "95 % interval"
MARK = "†"  # a published value that our runs may not be held against


def cells(table: Table, row: Row) -> dict[str, str]:
    """One row as the columns a person reads."""
    first, *others = table.metrics
    digits = METRICS[first].digits
    shown = {key: row.label.get(key) or "–" for key in table.columns} or {"run": "all"}
    shown[METRICS[first].title] = stat(row.metrics[first], digits)
    if any((s := r.metrics[first]) and s.sd is not None for r in table.rows):
        shown[INTERVAL] = interval(row.metrics[first], digits)
    if len(table.rows) > 1 and any(r.baseline for r in table.rows):
        change = row.difference
        shown["Δ"] = "baseline" if row.baseline else "—" if change is None else short(change.stat, digits, sign=True)
        shown["verdict"] = change.verdict if change else "–"
    for name in others:
        spread = name not in ("gap", "seconds")
        value = row.metrics[name]
        text = stat(value, METRICS[name].digits) if spread else short(value, METRICS[name].digits, spread=False)
        shown[METRICS[name].title] = text
    for name in _published(table):
        shown[published_title(table, name)] = published(row.published.get(name), METRICS[name].digits)
    if any(set(r.status) - {"done"} for r in table.rows):
        shown["runs"] = ", ".join(f"{n} {status}" for status, n in row.status.items())
    return shown


def published_title(table: Table, metric: str) -> str:
    """The heading over the published values of a metric."""
    return "published" if metric == table.metrics[0] else f"published {METRICS[metric].title.removeprefix('test ')}"


def footer(table: Table) -> list[tuple[str, str]]:
    """The protocol and the notes of the rows, as (name, text)."""
    lines = list(table.protocol.items())
    lines += [(row.name, row.note) for row in table.rows if row.note]
    why: dict[str, list[str]] = {}
    for row in table.rows:
        for value in row.published.values():
            if value.why_not and row.name not in why.setdefault(value.why_not, []):
                why[value.why_not].append(row.name)
    marked = sum(map(len, why.values()))
    for reason, names in why.items():
        of = "" if len(names) == marked else f" ({', '.join(names)})"
        lines.append((MARK, f"not comparable{of}: {reason}"))
    return lines


def stat(value: Stat | None, digits: int = 2) -> str:
    """`3.21 ± 0.10 (3)`; no ± for one value; a dash for none."""
    return "—" if value is None else f"{short(value, digits)} ({value.n})"


def short(value: Stat | None, digits: int = 2, sign: bool = False, spread: bool = True) -> str:
    """`3.21 ± 0.10`, `+0.30 ± 0.05`, `3.21`."""
    if value is None:
        return "—"
    deviation = f" ± {value.sd:.{digits}f}" if spread and value.sd is not None else ""
    return f"{value.mean:{'+' if sign else ''}.{digits}f}{deviation}"


def interval(value: Stat | None, digits: int = 2) -> str:
    """`[3.10, 3.32]`, or a dash."""
    return "—" if value is None or value.low is None else f"[{value.low:.{digits}f}, {value.high:.{digits}f}]"


def published(value: Published | None, digits: int = 2) -> str:
    """`1.62`, `4.72 ± 0.21`, with a mark where ours may not be held against it."""
    if value is None:
        return "—"
    deviation = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{value.value:.{digits}f}{deviation}{MARK if value.why_not else ''}"


def rich(table: Table) -> Any:
    """For a terminal; what a narrow one has no room for is left out, and named."""
    from rich.console import Group
    from rich.text import Text

    head = [Text(line) for line in (table.title, table.text) if line]
    feet = [Text.assemble((f"{name}: ", "bold"), text) for name, text in footer(table)]
    return Group(*head, _Fitting(table), *feet)


class _Fitting:
    """A rich renderable that knows its width only when it is drawn."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        rows = [cells(self.table, row) for row in self.table.rows]
        shown = list(rows[0]) if rows else ["run"]
        hidden = []
        while console.measure(drawn := self._draw(rows, shown), options=options.update(max_width=1000)).minimum > (
            options.max_width
        ) and (name := _spare(shown)):
            shown.remove(name)
            hidden.append(name)
        yield drawn
        if hidden:
            yield Text(f"no room here for {', '.join(hidden)}: a wider terminal or --format shows them")

    def _draw(self, rows: list[dict[str, str]], shown: list[str]) -> Any:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        drawn = RichTable(box=box.SIMPLE_HEAD)
        for name in shown:
            words = _is_words(self.table, name)
            texts = [name, *(values[name] for values in rows)]
            least = max(len(part) for text in texts for part in (text.split() if words else [text]))
            drawn.add_column(name, justify="left" if words else "right", min_width=least, no_wrap=not words)
        for row, values in zip(self.table.rows, rows, strict=True):
            drawn.add_row(*(Text(values[name]) for name in shown), style="bold" if row.best else None)
        return drawn


def markdown(table: Table) -> str:
    """For a forge: a pipe table, the footer as a list."""
    rows = [cells(table, row) for row in table.rows]
    names = list(rows[0]) if rows else ["run"]
    lines = [f"## {_md(table.title)}\n"] * bool(table.title) + [f"{_md(table.text)}\n"] * bool(table.text)
    lines.append("| " + " | ".join(map(_md, names)) + " |")
    lines.append("|" + "|".join(":--" if _is_words(table, name) else "--:" for name in names) + "|")
    for row, shown in zip(table.rows, rows, strict=True):
        bold = "**" if row.best else ""
        lines.append("| " + " | ".join(f"{bold}{_md(cell)}{bold}" for cell in shown.values()) + " |")
    lines.append("")
    lines += [f"- {_md(name)}: {_md(text)}" for name, text in footer(table)]
    return "\n".join(lines)


def latex(table: Table) -> str:
    r"""A float with booktabs rules; the document needs \usepackage{booktabs} and nothing else.

    It fits the text width of a plain article: what there is no room for is left out, and named.
    """
    rows = [cells(table, row) for row in table.rows]
    columns = {name: _tex_column(table, name, [row[name] for row in rows]) for name in (rows[0] if rows else ["run"])}
    hidden = []
    while sum(width + 1 for _, width in columns.values()) > _TEX_LINE and (name := _spare(columns)):
        del columns[name]
        hidden.append(name)
    feet = footer(table) + [("Left out, for want of room", ", ".join(hidden))] * bool(hidden)
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{2.5pt}",
    ]
    lines += [rf"\caption{{{_tex(table.title)}}}"] * bool(table.title)
    lines += [rf"\begin{{tabular}}{{@{{}}{''.join(align for align, _ in columns.values())}@{{}}}}", r"\toprule"]
    lines += [_tex_row(map(_tex, columns)), r"\midrule"]
    for row, shown in zip(table.rows, rows, strict=True):
        lines.append(_tex_row(_tex_cell(shown[name], row.best, *columns[name]) for name in columns))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip\raggedright {_tex(name)}: {_tex(text)}" for name, text in feet]
    return "\n".join([*lines, r"\end{table}"])


def _tex_column(table: Table, name: str, texts: list[str]) -> tuple[str, int]:
    """Alignment, and the width in characters: numbers to the right; words to the left, long ones over several lines."""
    width = max(map(len, [name, *texts]))
    if not _is_words(table, name):
        return "r", width
    wrapped = max(_TEX_WRAP, *(len(part) for text in [name, *texts] for part in text.split()))
    return ("l", width) if width <= wrapped else (rf"p{{{0.44 * wrapped:.1f}em}}", wrapped)


def _tex_row(texts: Iterable[str]) -> str:
    return " & ".join(texts) + r" \tabularnewline"  # \\ would end a line of a ragged cell


def frame(table: Table) -> pd.DataFrame:
    """One row for each of the table's, one column for each number: to go on with in a notebook."""
    import pandas as pd  # a third of a second: only when asked for

    flat = []
    for row in table.rows:
        values: dict[str, Any] = {key: row.label.get(key, "") for key in table.columns}
        for name in table.metrics:
            values |= {f"{name}_{part}": getattr(row.metrics[name], part, None) for part in _PARTS}
        change = row.difference
        values |= {f"delta_{part}": getattr(change and change.stat, part, None) for part in _PARTS}
        values |= {name: getattr(change, name, None) for name in ("p", "p_holm", "verdict")}
        values |= {"baseline": row.baseline, "best": row.best}
        values |= {status: row.status.get(status, 0) for status in STATUSES}
        for name in _published(table):
            of_paper = row.published.get(name)
            values |= {f"published_{name}": getattr(of_paper, "value", None)}
            values |= {f"published_{name}_why_not_comparable": getattr(of_paper, "why_not", None) or ""}
        flat.append(values)
    return pd.DataFrame(flat, columns=None if flat else ["run"]).convert_dtypes()


def to_csv(table: Table) -> str:
    """`frame` as CSV; text that a spreadsheet would run as a formula is disarmed."""
    safe = frame(table).map(lambda value: _no_formula(value) if isinstance(value, str) else value)
    return safe.rename(columns=_no_formula).to_csv(index=False, lineterminator="\n").rstrip("\n")


def to_json(table: Table) -> str:
    """Everything, every number with its n."""
    rows = [
        {
            "label": row.label,
            "seeds": row.seeds,
            "status": row.status,
            "metrics": {name: value and asdict(value) for name, value in row.metrics.items()},
            "difference": row.difference and asdict(row.difference),
            "baseline": row.baseline,
            "best": row.best,
            "published": {name: asdict(value) for name, value in row.published.items()},
            "note": row.note,
            "runs": [r.run_id for r in row.runs],
        }
        for row in table.rows
    ]
    content = {"title": table.title, "text": table.text, "columns": table.columns, "rows": rows}
    return json.dumps(content | {"protocol": table.protocol}, indent=1, allow_nan=False, ensure_ascii=False)


RENDERERS = {"rich": rich, "md": markdown, "latex": latex, "csv": to_csv, "json": to_json}
_WRAP = 16  # characters of a line of words in LaTeX
_TEX_LINE, _TEX_WRAP = 94, 14  # characters that fit in an article's line at \\scriptsize; of a column of words
_PARTS = ("mean", "sd", "n", "low", "high")


def _published(table: Table) -> list[str]:
    return [m for m in table.metrics if any(m in row.published for row in table.rows)]


def _is_words(table: Table, column: str) -> bool:
    return column in table.columns or column in ("verdict", "runs")


def _spare(columns: Collection[str]) -> str | None:
    """The column that a narrow table can do without most easily."""
    order = ("seconds", "gap", METRICS["val_error"].title, METRICS["train_error"].title, INTERVAL)
    return next((name for name in order if name in columns), None)


def _no_formula(text: str) -> str:
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _md(text: str) -> str:
    """Words in a Markdown cell: no cell can end early, no tag, link or emphasis can begin."""
    text = " ".join(text.split())
    return "".join("&lt;" if c == "<" else f"\\{c}" if c in "\\|`*_[]" else c for c in text)


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "Δ": r"$\Delta$", "—": "---",
    "–": "--", "†": r"$\dagger$", "×": r"$\times$", "≤": r"$\le$", "≥": r"$\ge$", "−": "$-$", "→": r"$\to$",
    "α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "σ": r"$\sigma$", "²": "$^2$", "·": r"$\cdot$",
    "[": "{[}", "]": "{]}",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in " ".join(text.split()))


def _tex_cell(text: str, strong: bool, align: str, width: int) -> str:
    """A cell; a signed number gets a real minus sign."""
    escaped = _tex(text)
    if text[:1] in "+-" and text[1:2].isdigit():
        escaped = f"${escaped[0]}$" + escaped[1:]
    if strong:
        escaped = rf"\textbf{{{escaped}}}"
    return r"\raggedright " * (align != "r" and len(text) > width) + escaped
