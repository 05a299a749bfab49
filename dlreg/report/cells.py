"""What every form of a table shares: its cells as words, the footer, which columns a narrow page can spare."""

from __future__ import annotations

from collections.abc import Collection

from dlreg.report.metrics import METRICS
from dlreg.report.stats import Stat
from dlreg.report.table import Published, Row, Table
from dlreg.report.target import Reached, titles

INTERVAL = "95 % interval"
DELTA_INTERVAL = "95 % of Δ"
IMAGES_INTERVAL = "95 % of Δ, new images"
AGAINST = "compared with"
MARK = "†"  # a published value that our runs may not be held against


def cells(table: Table, row: Row) -> dict[str, str]:
    """One row as the columns a person reads."""
    first, *others = table.metrics
    digits = METRICS[first].digits
    shown = {key: row.label.get(key) or "–" for key in table.columns} or {"run": "all"}
    shown[METRICS[first].title] = stat(row.metrics[first], digits)
    if any((s := r.metrics[first]) and s.sd is not None for r in table.rows):
        shown[INTERVAL] = interval(row.metrics[first], digits)
    controls = {r.against for r in table.rows if r.against}
    if controls:
        change = row.difference
        shown["Δ"] = "baseline" if row.baseline else short(change.stat if change else None, digits, sign=True)
        if any(r.difference and r.difference.judged for r in table.rows):
            shown[DELTA_INTERVAL] = interval(change.stat if change and change.judged else None, digits, sign=True)
        if any(r.difference and r.difference.images for r in table.rows):
            shown[IMAGES_INTERVAL] = interval(change.images if change else None, digits, sign=True)
        shown["verdict"] = change.verdict if change else "–"
        if len(controls) > 1:
            shown[AGAINST] = row.against or "–"
    for name in others:
        spread = name not in ("gap", "seconds")
        value = row.metrics[name]
        text = stat(value, METRICS[name].digits) if spread else short(value, METRICS[name].digits, spread=False)
        shown[METRICS[name].title] = text
    if table.target is not None:
        reached = Reached.of(row, table.target)
        shown |= {title: _took(reached, name) for name, title in titles(table.target).items()}
    for name in published_metrics(table):
        shown[published_title(table, name)] = published(row.published.get(name), METRICS[name].digits)
    if any(set(r.status) - {"done"} for r in table.rows):
        shown["runs"] = ", ".join(f"{n} {status}" for status, n in row.status.items())
    return shown


def published_title(table: Table, metric: str) -> str:
    """The heading over the published values of a metric, or over those of theory."""
    title = METRICS[metric].title.removeprefix("test ")
    return table.reference if metric == table.metrics[0] else f"{table.reference} {title}"


def footer(table: Table) -> list[tuple[str, str]]:
    """The protocol and the notes of the rows, as (name, text); nothing for a table that is to stand without."""
    if not table.protocol:
        return []
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


def _took(reached: Reached, name: str) -> str:
    """`12.3 ± 1.5 (3)`; where a run missed the target `2 of 3 reached, 12 to 14`, or `not reached (0 of 3)`."""
    values, digits = getattr(reached, name), 1 if name == "seconds" else 0
    if not reached.runs:
        return "—"
    if not values:
        return f"not reached (0 of {reached.runs})"
    if len(values) < reached.runs:
        low, high = (f"{end(values):.{digits}f}" for end in (min, max))
        span = low if low == high else f"{low} to {high}"
        return f"{len(values)} of {reached.runs} reached, {span}"
    return stat(reached.stat(values), 1)


def short(value: Stat | None, digits: int = 2, sign: bool = False, spread: bool = True) -> str:
    """`3.21 ± 0.10`, `+0.30 ± 0.05`, `3.21`."""
    if value is None:
        return "—"
    sd = value.sd if spread else None
    form = _form(digits, value.mean, sd)
    return f"{value.mean:{'+' if sign else ''}{form}}" + ("" if sd is None else f" ± {sd:{form}}")


def interval(value: Stat | None, digits: int = 2, sign: bool = False) -> str:
    """`[3.10, 3.32]`, `[-0.30, +0.10]`, or a dash."""
    if value is None or value.low is None:
        return "—"
    form = f"{'+' if sign else ''}{_form(digits, value.low, value.high)}"
    return f"[{value.low:{form}}, {value.high:{form}}]"


def _form(digits: int, *numbers: float | None) -> str:
    """So many decimals; powers of ten where a cell of losses would hold nothing but zeros, or ten digits and more."""
    largest = max(abs(number or 0.0) for number in numbers)
    empty = digits > 2 and 0 < largest < 0.5 * 10**-digits
    return ".1e" if empty or largest >= 1e7 else f".{digits}f"


def published(value: Published | None, digits: int = 2) -> str:
    """`1.62`, `4.72 ± 0.21`, with a mark where ours may not be held against it."""
    if value is None:
        return "—"
    deviation = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{value.value:.{digits}f}{deviation}{MARK if value.why_not else ''}"


def published_metrics(table: Table) -> list[str]:
    """The metrics for which a paper prints something."""
    return [m for m in table.metrics if any(m in row.published for row in table.rows)]


def is_words(table: Table, column: str) -> bool:
    """Whether a column holds words, set to the left and wrapped, and not numbers."""
    return column in table.columns or column in ("verdict", AGAINST, "runs")


def is_bold(table: Table, row: Row, column: str) -> bool:
    """Whether a cell is bold: the judged number of the best row, and nothing else."""
    return row.best and column == METRICS[table.metrics[0]].title


def spare(columns: Collection[str]) -> str | None:
    """The column that a narrow table can do without most easily."""
    order = (
        "seconds",
        "gap",
        METRICS["val_error"].title,
        METRICS["val_accuracy"].title,
        METRICS["train_error"].title,
        METRICS["train_accuracy"].title,
        INTERVAL,
        IMAGES_INTERVAL,
        DELTA_INTERVAL,
    )
    return next((name for name in order if name in columns), None)
