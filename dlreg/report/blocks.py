"""`--by optimizer`: a table in blocks, one for each value of a word, each with its own baseline and family of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.judge import arranged, grouped, judge, tested
from dlreg.report.label import describe, place, varying, words_of
from dlreg.report.protocol import protocol_of
from dlreg.report.question import Question
from dlreg.report.table import Row, Table
from dlreg.run.result import Result

JUDGED = ("In words", "Looks", "Precision")  # lines that each block has its own of


def cut(results: Sequence[Result], by: str, baseline: str | None, against: str | None, question: Question) -> Table:
    """The runs in blocks, rows in order. With `against`, the rows are compared across blocks, and are one family.

    Raises:
        UserError: no run has the word `by`.
    """
    question, words = question.of(results), [words_of(r) for r in results]
    known = dict.fromkeys(key for each in words for key in each)
    if by not in known:
        raise UserError(f"--by={shown(by)}: no run has it.{did_you_mean(by, known)}")
    parts: dict[str, list[Result]] = {}
    for each, result in zip(words, results, strict=True):
        parts.setdefault(each.get(by, "–"), []).append(result)
    parts = {value: parts[value] for value in sorted(parts, key=lambda value: place([value]))}
    if against is not None:
        keys = [by, *(key for key in varying([describe(r.config) for r in results]) if key != by)]
        table = arranged(judge(*grouped(results, None, against, keys), question))
        rows = sorted(table.rows, key=lambda row: list(parts).index(row.label[by] or "–"))
        return replace(table, rows=rows, by=by)
    keys = list(dict.fromkeys(key for part in parts.values() for key in varying([describe(r.config) for r in part])))
    tables = {value: arranged(judge(*grouped(part, baseline, None, keys), question)) for value, part in parts.items()}
    return _joined(tables, by, results, question)


def _joined(tables: Mapping[str, Table], by: str, results: Sequence[Result], question: Question) -> Table:
    """One table; lines of the footer that are about verdicts say of which block."""
    first = next(iter(tables.values()))
    rows = [row for value, table in tables.items() for row in _renamed(table, by, value)]
    families = "; ".join(f"{value}: {table.test or 'nothing to judge'}" for value, table in tables.items())
    test = (
        f"each {by} is a block with a baseline, a best row and a family of verdicts of its own, with 5 % for each block "
        f"({families})"
    )
    samples = tested([r for row in rows for r in row.runs], question.select)
    lines = protocol_of(rows, results, question, samples, test)
    if not any(row.against for row in rows):
        lines["Verdicts"] = f"none: no block has two rows to compare; --against {by}=VALUE compares across blocks"
    lines = {"In words": ""} | lines
    for name in JUDGED:
        lines[name] = _told(tables, name)
    if own := _told(tables, "Warning", but=lines.get("Warning")):
        lines["Warning"] = "; ".join(filter(None, [lines.get("Warning"), own]))
    lines = {name: text for name, text in lines.items() if text}
    return replace(first, columns=[by, *first.columns], rows=rows, protocol=lines, test=test, by=by)


def _renamed(table: Table, by: str, value: str) -> list[Row]:
    """The rows with their block in their names, also where others name them."""
    rows = [replace(row, label={by: value} | row.label) for row in table.rows]
    names = {old.name: new.name for old, new in zip(table.rows, rows, strict=True)}
    return [replace(row, against=row.against and names[row.against]) for row in rows]


def _told(tables: Mapping[str, Table], name: str, but: str | None = None) -> str:
    """What the blocks say in a line of their footers, `but` for what the whole table says."""
    told = {value: table.protocol.get(name) for value, table in tables.items()}
    return " ".join(f"{value}: {text.removesuffix('.')}." for value, text in told.items() if text and text != but)
