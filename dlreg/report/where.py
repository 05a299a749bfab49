"""`--where reg=dropout`: the runs, or the rows, whose words are as asked."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.label import number, place, words_of
from dlreg.report.table import Table
from dlreg.run.result import Result

MOST = 6  # values that a message names
_FORM = re.compile(r"([^=!<>]+?)(<=|>=|!=|=|<|>)(.*)", re.DOTALL)
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
Words = Mapping[str, str]


@dataclass(frozen=True)
class Condition:
    """`KEY=VALUE,VALUE` (any of them), `KEY!=VALUE` (none of them), `KEY<NUMBER` and its like."""

    text: str
    key: str
    sign: str
    values: Sequence[str]

    @classmethod
    def of(cls, text: str) -> Condition:
        """What a user typed.

        Raises:
            UserError: it has another form, or is a comparison with what is no number.
        """
        found = _FORM.fullmatch(text.strip())
        if not found or not found[3].strip():
            raise UserError(f"--where {shown(text)!r} must be KEY=VALUE, KEY=VALUE,VALUE, KEY!=VALUE or KEY<NUMBER")
        key, sign, value = (part.strip() for part in found.groups())
        if sign in _ORDER and number(value) is None:
            raise UserError(f"--where {shown(text)!r}: {sign} needs a number")
        return cls(text.strip(), key, sign, _values(value))

    def holds(self, words: Words) -> bool:
        """Whether it is true of what has these words; what lacks the key is neither equal to nor less than anything."""
        have = words.get(self.key)
        if self.sign in _ORDER:
            mine, limit = number(have or ""), number(self.values[0])
            return mine is not None and limit is not None and _ORDER[self.sign](mine, limit)
        equal = have is not None and any(_equal(have, value) for value in self.values)
        return equal == (self.sign == "=")


def where(results: Sequence[Result], conditions: Sequence[Condition]) -> tuple[list[Result], str]:
    """The runs of which every condition holds, and a line on what is left out.

    Raises:
        UserError: no run has such a key, or none is left.
    """
    kept, line = _kept([words_of(r) for r in results], conditions, "run")
    return [results[i] for i in kept], line


def rows_where(table: Table, words: Sequence[Words], conditions: Sequence[Condition]) -> Table:
    """The table with the rows of whose `words` every condition holds. It was judged as a whole, and its footer says so.

    Raises:
        UserError: no row has such a key, or none is left.
    """
    kept, line = _kept(words, conditions, "row")
    line += f"; the other lines, and the families of verdicts, are about all {len(table.rows)}"
    return replace(table, rows=[table.rows[i] for i in kept], protocol={"Where": line} | table.protocol)


def _kept(things: Sequence[Words], conditions: Sequence[Condition], what: str) -> tuple[list[int], str]:
    """The indices of those that pass, and what each condition in turn left out."""
    known = dict.fromkeys(key for words in things for key in words)
    left, told = list(range(len(things))), []
    for c in conditions:
        if c.key not in known:
            raise UserError(f"--where {shown(c.text)!r}: no {what} has {shown(c.key)}.{did_you_mean(c.key, known)}")
        passed = [i for i in left if c.holds(things[i])]
        gone = [i for i in left if i not in set(passed)]
        values = listed(things[i].get(c.key) for i in gone)
        if not passed:
            others = "" if len(left) == len(things) else " that the conditions before it leave"
            raise UserError(f"--where {shown(c.text)!r}: no {what} is left of {len(left)}{others}; {c.key} is {values}")
        if gone:
            told.append(f"{_count(len(gone), what)} with {c.key} {values}")
        left = passed
    asked = " and ".join(c.text for c in conditions)
    return left, f"{asked}: {len(left)} of {_count(len(things), what)}; left out: {', '.join(told) or 'none'}"


def listed(values: Iterable[str | None]) -> str:
    """`l2, none or dropout`, each once and in order."""
    every = sorted({value or "absent" for value in values}, key=lambda value: place([value]))
    if len(every) > MOST:
        every = [*every[: MOST - 1], f"{len(every) - MOST + 1} others"]
    return " or ".join([", ".join(every[:-1]), every[-1]] if len(every) > 1 else every)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _values(text: str) -> list[str]:
    """At the commas outside brackets; a stack as it is typed, `[dropout,l2]`, as tables show it, `dropout+l2`."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text)]


def _equal(have: str, value: str) -> bool:
    """As words, as a stack, as numbers (1e-4 is 0.0001), or by a pattern with `*`."""
    if "*" in value:
        return fnmatchcase(have, value.replace("[", "[[]"))
    if (a := number(have)) is not None and (b := number(value)) is not None:
        return a == b
    inside = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else []
    return have in (value, "+".join(inside), "x".join(inside))
