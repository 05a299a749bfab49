"""Lists of overrides: which of them win, and which rows a change from the command line applies to."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

from dlreg.config import guard
from dlreg.config.applying import Applying, in_option
from dlreg.config.compose import checked, compose, hydra, load, with_values
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
    parser, composed, found = OverridesParser.create(), {}, []
    with hydra() as loader:
        for point in points:
            guard.words(point)
            values = [word for word in point if word.split("=", 1)[0] not in GROUPS]
            head = tuple(layered(words, [word for word in point if word not in values], ()))
            if head not in composed:
                composed[head] = cfg = load(loader, head, config_dirs)
                rule = Applying(word.split("=", 1)[0] for word in values)
                rule.to(checked(cfg, cfg.hydra.runtime.choices).model_dump())
                rule.refuse_unused("no option of this row")
            cfg = composed[head]
            changed = with_values(cfg, [parser.parse_override(word) for word in values])
            found.append(checked(changed, cfg.hydra.runtime.choices))
    return found
