"""Lists of overrides: which of them win, and which rows a value applies to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlreg.config import guard
from dlreg.config.applying import Applying, in_option
from dlreg.config.compose import composed, sets_value
from dlreg.config.schema import GROUPS, Settings

SHOWN = 3  # rows that a line names


def layered(*layers: Sequence[str]) -> tuple[str, ...]:
    """One list of overrides: of those for the same key the last one."""
    kept: dict[str, str] = {}
    for word in (word for words in layers for word in words):
        kept.pop(_key(word), None)
        kept[_key(word)] = word
    return tuple(kept.values())


def over_rows(
    base: Sequence[str], rows: Sequence[Sequence[str]], changes: Sequence[str], config_dirs: Sequence[str]
) -> list[tuple[str, ...]]:
    """The overrides of each row: what all share, its own, and the changes from the command line.

    A value inside an option (`optimizer.lr=.1`) holds in every row that has the key in the end, whichever option stood there
    before; what a row sets itself must be there. An option that the command line chooses may leave a shared value to no row.

    Raises:
        UserError: a value applies to no row, or the options do not compose.
    """
    changed = set(map(_key, changes))
    rule = Applying([*(k for k in _inside(base) if k.split(".")[0] not in changed), *_inside(changes)])
    found = []
    for row in rows:
        words = layered(base, row, changes)
        tree = composed(_options(words), config_dirs).tree()
        rule.to(tree)
        own = set(map(_key, row)) - changed
        found.append(_holding(words, [key for key in _inside(words) if key not in own], tree))
    rule.refuse_unused("no row of this study")
    return found


def told(base: Sequence[str], rows: Mapping[str, Sequence[str]], changes: Sequence[str]) -> list[str]:
    """A line for each shared value inside an option that some row (label -> its overrides) goes without, or that holds for
    another option than it was written for, because the command line chose that one."""
    chosen = {_key(word): word for word in changes}
    lines = []
    for word in (word for word in base if _inside([word]) and _key(word) not in chosen):
        without = [label for label, words in rows.items() if _key(word) not in set(map(_key, words))]
        if without:
            where = "every row" if len(without) == len(rows) else _some(without)
            lines.append(f"{word} is left out of {where}: the option chosen there has no such key")
        elif other := chosen.get(word.split(".")[0]):
            lines.append(f"{word} holds with {other} too")
    return lines


def varied(
    words: Sequence[str], points: Sequence[Sequence[str]], config_dirs: Sequence[str]
) -> list[tuple[tuple[str, ...], Settings]]:
    """The overrides and the settings of a row at each point of what it tunes; composed again only where a point chooses an
    option. That takes over the row's values for keys that it has.

    Raises:
        UserError: a point sets what the row does not have, or a value is refused.
    """
    found = []
    for point in points:
        groups, own = set(map(_key, point)) & GROUPS.keys(), set(map(_key, point)) - GROUPS.keys()
        row = layered(words, point)
        config = composed(_options(row), config_dirs)
        rule, tree = Applying(own), config.tree()
        rule.to(tree)
        rule.refuse_unused("no option of this row")
        row = _holding(row, [key for key in _inside(row) if key.split(".")[0] in groups and key not in own], tree)
        found.append((row, config.settings([word for word in guard.words(row) if sets_value(word)])))
    return found


def _inside(words: Sequence[str]) -> list[str]:
    """The keys inside options."""
    return [key for key in map(_key, words) if in_option(key)]


def _options(words: Sequence[str]) -> list[str]:
    """Those that choose options, and set no value."""
    return [word for word, override in zip(words, guard.words(words), strict=True) if not sets_value(override)]


def _holding(words: Sequence[str], keys: Sequence[str], tree: Mapping[str, Any]) -> tuple[str, ...]:
    """The words without those for `keys` that the config does not have."""
    lacking = set(keys) - Applying(keys).to(tree)
    return tuple(word for word in words if _key(word) not in lacking)


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - SHOWN} more rows" if len(labels) > SHOWN else ""
    return ", ".join(map(repr, labels[:SHOWN])) + more


def _key(word: str) -> str:
    return word.split("=", 1)[0]
