"""The card of an option, from its YAML, its docstring and its schema: what the terminal prints and the site's page shows.

In a docstring, formulas stand in plain notation between dollars: `$$w <- w - lr g$$` is displayed, `$w <= c$` stands in a
line. A terminal shows them without the dollars, a page as mathematics.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlreg.config.allowed import allowed
from dlreg.config.build import hyperparameters, is_option, locate
from dlreg.config.options import headline, text_of
from dlreg.config.schema import GROUPS, Settings

FORMULA = re.compile(r"\$\$(?P<displayed>.+?)\$\$|\$(?P<inline>.+?)\$", re.DOTALL)
ADDRESS = re.compile(r"https?://[^\s<>]*[^\s<>.,:;]")
TOLD_IN_WORDS = ("data", "model", "log")  # a thing, a list of layers, a program of others: of these no formula is asked


@dataclass(frozen=True)
class Parameter:
    """One key of an option: `reg.dropout.p`, its default, and its type and range in words."""

    key: str
    default: str
    allowed: str


@dataclass(frozen=True)
class Part:
    """What an option file holds under one word: the text and the parameters of one class or function."""

    word: str
    text: str  # the docstring, formulas between dollars
    parameters: tuple[Parameter, ...]

    @property
    def plain(self) -> str:
        """The text as a terminal shows it."""
        return FORMULA.sub(lambda found: found["displayed"] or found["inline"], self.text)

    @property
    def formulas(self) -> list[str]:
        """The displayed formulas, in plain notation."""
        return [" ".join(found["displayed"].split()) for found in FORMULA.finditer(self.text) if found["displayed"]]

    @property
    def addresses(self) -> list[str]:
        """Where the sources can be read."""
        return [found for _, found in addresses(self.text)]


@dataclass(frozen=True)
class Card:
    """All that is told of one option. `reg=none` has no part; a user's own file may stack several."""

    group: str
    name: str
    headline: str
    parts: tuple[Part, ...]
    path: Path

    @property
    def title(self) -> str:
        """What is typed to choose it: `reg=dropout`."""
        return f"{self.group}={self.name}"

    @property
    def yaml(self) -> str:
        """The option's file."""
        return text_of(self.path).rstrip()

    @property
    def lacking(self) -> list[str]:
        """What a complete card has and this one has not."""
        owed = {
            "a headline": bool(self.headline),
            "a text": all(part.text for part in self.parts),
            "a formula": self.group in TOLD_IN_WORDS or all(part.formulas for part in self.parts),
        }
        return [what for what, there in owed.items() if not there]


def card(settings: Settings, group: str, name: str, path: Path) -> Card:
    """The card of an option that was composed alone, or in a stack with others."""
    nodes = getattr(settings, group) if GROUPS[group].stack else {name: getattr(settings, group)}
    mine = {name: nodes[name]} if name in nodes else nodes
    parts = tuple(_part(group, word, node) for word, node in mine.items())
    return Card(group, name, headline(path), parts, path)


def addresses(text: str) -> list[tuple[int, str]]:
    """Every address in a text and where it begins; a bracket that was opened before it does not belong to it."""
    found = []
    for match in ADDRESS.finditer(text):
        address = match[0]
        while address.count(")") > address.count("("):
            address = address[: address.rindex(")")]
        found.append((match.start(), address))
    return found


def _part(group: str, word: str, node: Mapping[str, Any]) -> Part:
    prefix = f"{group}.{word}." if GROUPS[group].stack else f"{group}."
    text = inspect.getdoc(locate(group, node)) or ""
    return Part(word, text, tuple(_parameters(group, node, prefix)))


def _parameters(group: str, node: Mapping[str, Any], prefix: str) -> typing.Iterator[Parameter]:
    for key, (annotation, _) in hyperparameters(group, node).items():
        value: Any = node.get(key)
        if is_option(value):  # the base optimizer of SAM: what chooses another, and its own keys
            yield Parameter(f"{group}@{prefix}{key}", value["_target_"].rpartition(".")[2], f"an option of {group}")
            yield from _parameters(group, value, f"{prefix}{key}.")
        else:
            yield Parameter(f"{prefix}{key}", _text(value), allowed(annotation))


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
