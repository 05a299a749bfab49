"""Lists of overrides: which of them win, and which rows a change from the command line applies to."""

from __future__ import annotations

from collections.abc import Sequence

from dlreg.config import guard
from dlreg.config.applying import Applying, in_option
from dlreg.config.compose import compose, composed, sets_value
from dlreg.config.schema import GROUPS, Settings


def layered(base: Sequence[str], row: Sequence[str], changes: Sequence[str]) -> list[str]:
    """One list of overrides in which later ones win.

    To choose another option of a group (`optimizer=adam`) takes back what was set inside the option chosen before
    (`optimizer.momentum=.9`); only what a row itself sets stands against the changes from the command line.
    """
    kept: dict[str, tuple[str, bool]] = {}
    for words, own in ((base, False), (row, True), (changes, False)):
        for word in words:
            key = word.split("=", 1)[0]
            if key in GROUPS:
                for other in [k for k, (_, owned) in kept.items() if k.startswith(f"{key}.") and (own or not owned)]:
                    del kept[other]
            was_own = kept.pop(key, ("", False))[1]
            kept[key] = (word, own or (was_own and words is not changes))
    return [word for word, _ in kept.values()]


def applying(
    base: Sequence[str], rows: Sequence[Sequence[str]], changes: Sequence[str], config_dirs: Sequence[str]
) -> list[list[str]]:
    """For each row the changes from the command line, without the values for options that it has not chosen.

    Raises:
        UserError: a change applies to no row.
    """
    inside = {word: key for word in changes if in_option(key := word.split("=", 1)[0])}
    if not inside:
        return [list(changes) for _ in rows]
    others = [word for word in changes if word not in inside]
    rule = Applying(inside.values())
    there = [rule.to(compose(layered(base, row, others), config_dirs).model_dump()) for row in rows]
    rule.refuse_unused("no row of this study")
    return [[word for word in changes if inside.get(word) in {None, *keys}] for keys in there]


def varied(words: Sequence[str], points: Sequence[Sequence[str]], config_dirs: Sequence[str]) -> list[Settings]:
    """The settings of a row at each point of what it tunes; composed again only where a point chooses an option.

    Raises:
        UserError: a point sets what the row does not have, or a value is refused.
    """
    found = []
    for point in points:
        values = [override for override in guard.words(point) if override.key_or_group not in GROUPS]
        options = [str(override.input_line) for override in guard.words(point) if override not in values]
        row = guard.words(layered(words, options, ()))
        config = composed([str(override.input_line) for override in row if not sets_value(override)], config_dirs)
        rule = Applying(override.key_or_group for override in values)
        rule.to(config.tree())
        rule.refuse_unused("no option of this row")
        found.append(config.settings([*filter(sets_value, row), *values]))
    return found
