"""A study from the words of a command line: sweeps make its rows, intervals are what the rows tune."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from pydantic import ValidationError

from dlreg.config import guard
from dlreg.config.applying import Applying, conditional
from dlreg.config.compose import compose
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError, shown
from dlreg.report.label import plainest
from dlreg.study.file import StudyRow
from dlreg.study.spaces import FIXED, TUNE, Interval, Space, of_override


@dataclass
class Words:
    """What the overrides of a command line say."""

    shared: list[str] = field(default_factory=list)  # of every row
    axes: dict[str, list[str]] = field(default_factory=dict)  # key -> overrides, one of which a row has
    spaces: dict[str, list[str] | Interval] = field(default_factory=dict)  # key -> what is tuned

    @classmethod
    def of(cls, given: Sequence[str]) -> Words:
        """Sorted by kind. Raises UserError: an override cannot be read, or its sweep says nothing here."""
        guard.words(given)
        parser, found = OverridesParser.create(), cls()
        for word in given:
            override = parser.parse_override(word)
            key = override.key_or_group
            try:
                axis = of_override(override)
            except ValueError as error:
                raise UserError(f"{shown(word)}: {error}") from None
            if axis and key in FIXED:
                raise UserError(f"{shown(word)}: {key} has one value here: it is not a thing to tune or to compare")
            if isinstance(axis, Interval) or (axis and TUNE in getattr(override.value(), "tags", ())):
                found.spaces[key] = axis
            elif axis:
                found.axes[key] = [f"{key}={value}" for value in axis]
            elif conditional(override):  # applies where its option is chosen
                found.axes[key] = [word]
            else:
                found.shared.append(word)
        return found

    def rows(self, config_dirs: Sequence[str]) -> list[StudyRow]:
        """One for each combination of the sweeps; a key inside an option applies where the option is chosen.

        Raises:
            UserError: the overrides do not compose, a key applies to no row, or it is nothing to tune.
        """
        chosen = [axis for key, axis in self.axes.items() if key in GROUPS]
        values = {key: axis for key, axis in self.axes.items() if key not in GROUPS}
        rule, found = Applying([*values, *self.spaces]), []
        for choice in itertools.product(*chosen):
            there = rule.to(compose([*self.shared, *choice], config_dirs).model_dump())
            space = {key: axis for key, axis in self.spaces.items() if key in there}
            for point in itertools.product(*(axis for key, axis in values.items() if key in there)):
                found.append(self._row((*choice, *point), space))
        rule.refuse_unused("no row of this command")
        return found

    def baseline(self, rows: Sequence[StudyRow]) -> str:
        """The label of the row with the fewest techniques, as in the table of a sweep."""
        described = [tuple((k, v) for k, _, v in (word.partition("=") for word in row.overrides)) for row in rows]
        return rows[plainest(described, None) or 0].label

    def _row(self, words: Sequence[str], space: Space) -> StudyRow:
        varying = [word for word in words if len(self.axes[word.split("=", 1)[0]]) > 1]
        alone = sum(len(axis) > 1 for axis in self.axes.values()) == 1
        label = " ".join(word.split("=", 1)[1] if alone else word for word in varying) or TUNE + "d"
        try:
            return StudyRow(label=plain(label), overrides=[plain(word) for word in words], tune=dict(space))
        except ValidationError as error:
            raise UserError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def plain(text: str) -> str:
    """Text in which a study puts in nothing for a dollar."""
    return text.replace("$", "$$")
