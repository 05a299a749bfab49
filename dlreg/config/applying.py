"""One rule: a key inside an option applies where the option is chosen. For a sweep's cells, a study's rows, a landscape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hydra.core.override_parser.types import Override

from dlreg.config.hints import instead_of_key
from dlreg.config.schema import GROUPS, walk
from dlreg.errors import UserError


class Applying:
    """Which of some keys each of several configs has, and which of them none has."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = list(dict.fromkeys(keys))
        self._unused, self._known = set(self.keys), set[str]()

    def to(self, tree: Mapping[str, Any]) -> set[str]:
        """The keys that this config has."""
        there = {key for key in self.keys if _has(tree, key)}
        self._unused -= there
        self._known |= {key for key, _ in walk(tree) if not key.endswith(".name")}
        return there

    def refuse_unused(self, nobody: str) -> None:
        """Once every config was asked: a key that `nobody` ("no run of this sweep") has is a mistake.

        Raises:
            UserError: naming the key, and the nearest that there is.
        """
        for key in sorted(self._unused):
            raise UserError(f"{key}: {nobody} has such a key.{instead_of_key(key, self._known)}")


def in_option(key: str) -> bool:
    """Whether a key is one of an option's own, `reg.dropout.p`."""
    return "." in key and key.split(".")[0] in GROUPS


def conditional(override: Override) -> bool:
    """Whether an override sets a key inside an option, so that in a sweep it may not apply to every cell."""
    return in_option(override.key_or_group) and not override.is_add() and not override.is_delete()


def _has(tree: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True
