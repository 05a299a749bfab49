"""What a table says, in sentences for a reader who knows no statistics."""

from __future__ import annotations

from collections.abc import Sequence

from dlreg.report.metrics import METRICS
from dlreg.report.table import Row, Table
from dlreg.report.verdicts import MOST_SEEDS, Difference

MOST = 8  # rows that a sentence names
TOLD = ("better", "worse", "equivalent", "identical", "not decided", "needs seeds")  # in the order of the sentences


def summary(table: Table) -> str:
    """`Dropout lowers the test error by 1.35 points (95 % 1.10 to 1.60), against none. L1 is equivalent to ... `"""
    compared = [(row, row.difference) for row in table.rows if row.against and row.difference]
    sentences = []
    for start in TOLD:
        kind = [(row, d) for row, d in compared if d.verdict.startswith(start)]
        for against in dict.fromkeys(row.against for row, _ in kind):
            told = [(row, d) for row, d in kind if row.against == against]
            control = next((row.quoted for row in table.rows if row.name == against), str(against))
            sentences.append(_sentence(table, start, told, control))
    silent = [f"{row.quoted}: {d.verdict}" for row, d in compared if not d.verdict.startswith(TOLD)]
    if silent:
        sentences.append(f"Nothing is concluded of {'; '.join(silent)}.")
    if best := next((row.quoted for row in table.rows if row.best), None):
        sentences.append(f"{best} is the best: it differs from every other row that can be judged.")
    return " ".join(sentences)


def _sentence(table: Table, start: str, told: Sequence[tuple[Row, Difference]], against: str) -> str:
    names = _and([row.quoted for row, _ in told])
    one = len(told) == 1
    if start in ("better", "worse"):
        more = f"; {len(told) - MOST} more rows are {start}" if len(told) > MOST else ""
        return "; ".join(_changed(table, row, d) for row, d in told[:MOST]) + f"{more}, against {against}."
    if start == "equivalent":
        return f"{names} {'is' if one else 'are'} equivalent to {against} within {table.margin:g}{_unit(table)}."
    if start == "identical":
        return f"{names} did exactly what {against} did, to the last bit: the difference between them never acted."
    if start == "needs seeds":
        return f"{names} cannot be told from {against} by a single seed."
    undecided = _and([_undecided(row, d) for row, d in told])
    return f"Against {against} the data decide neither way about {undecided}, if the differences are what they seem."


def _changed(table: Table, row: Row, d: Difference) -> str:
    """`Dropout lowers the test error by 1.35 points (95 % 1.10 to 1.60)`."""
    metric, stat = METRICS[table.metrics[0]], d.stat
    assert stat and stat.low is not None and stat.high is not None
    low, high = sorted((abs(stat.low), abs(stat.high)))
    verb = "lowers" if stat.mean < 0 else "raises"
    size = (
        f"{abs(stat.mean):.{metric.digits}f}{_unit(table)} (95 % {low:.{metric.digits}f} to {high:.{metric.digits}f})"
    )
    within = f", which is within {table.margin:g}" if "within" in d.verdict else ""
    return f"{row.quoted} {verb} the {metric.title.removesuffix(' %')} by {size}{within}"


def _undecided(row: Row, d: Difference) -> str:
    """`L2 (about 14 seeds of a new table would)`: if the difference is what it seems. Seeds that are added until a verdict
    appears make false ones, so it is not said how many more these need."""
    if d.seeds_needed is None:
        return f"{row.quoted} (it would take more than {MOST_SEEDS} seeds)"
    return f"{row.quoted} (about {d.seeds_needed} seeds of a new table would)"


def _unit(table: Table) -> str:
    return " points" if METRICS[table.metrics[0]].title.endswith("%") else ""


def _and(words: Sequence[str]) -> str:
    """`a, b and c`; of many, the first."""
    if len(words) > MOST:
        words = [*words[: MOST - 1], f"{len(words) - MOST + 1} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
