"""`--sort`: the order of a table's rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.label import place
from dlreg.report.table import Row, Table


def ordered(table: Table, text: str) -> Table:
    """By a column of numbers (`test_error`, `delta`), a word (`reg`) or all words (`config`); `-` before it turns it round.

    Rows without the number come last. Blocks stay where they are, with their rows in order.

    Raises:
        UserError: the table has no such column.
    """
    name = text.removeprefix("-")
    numbers = {m: _mean(m) for m in table.metrics} | {"delta": _delta}
    allowed = ["config", *numbers, *table.columns]
    if name not in allowed:
        near = did_you_mean(name, allowed)
        raise UserError(f"--sort={shown(text)}: the table has no such column; allowed: {', '.join(allowed)}.{near}")
    sign = -1 if text.startswith("-") else 1
    if name in numbers:
        there = [row for row in table.rows if numbers[name](row) is not None]
        rows = sorted(there, key=lambda row: sign * numbers[name](row))
        rows += [row for row in table.rows if numbers[name](row) is None]
    else:
        keys = table.columns if name == "config" else [name]
        rows = sorted(table.rows, key=lambda row: place(row.label.get(key, "") for key in keys), reverse=sign < 0)
    if table.by is not None:
        blocks = list(dict.fromkeys(row.label[table.by] for row in table.rows))
        rows.sort(key=lambda row: blocks.index(row.label[table.by or ""]))
    return replace(table, rows=rows)


def _mean(metric: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.metrics[metric], "mean", None)


def _delta(row: Row) -> Any:
    stat = row.difference.stat if row.difference else None
    return stat.mean if stat else 0.0 if row.baseline else None
