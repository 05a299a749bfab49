"""What to write in place of a word that dlreg does not have there."""

from __future__ import annotations

from collections.abc import Iterable

from dlreg.config.options import options
from dlreg.config.schema import GROUPS, Settings
from dlreg.errors import did_you_mean


def instead_of_key(key: str, known: Iterable[str]) -> str:
    """What surely was meant, else the nearest of the keys `known`."""
    keys = sorted(set(known))
    parents = [k.split(".")[0] for k in keys]
    return surely(key, keys) or did_you_mean(key, [*parents, *keys])


def surely(key: str, known: Iterable[str]) -> str:
    """` Write optimizer.lr=...` for `lr`, ` Write reg=dropout` for `dropout`; nothing where one can only guess."""
    inner = [k for k in sorted(set(known)) if k.rpartition(".")[2] == key and k != key]
    return f" Write {' or '.join(f'{k}=...' for k in inner[:3])}" if inner else choosing(key)


def instead_of_option(name: str, allowed: Iterable[str]) -> str:
    """` Write norm=batch` for `batch`, `batchnorm` or `batch_norm` of another group; else the nearest of `allowed`."""
    said = name.replace("_", "")
    found = [
        f"{group}={option}"
        for group in GROUPS
        for option in options(group)
        if option != "none" and said in (option.replace("_", ""), f"{option}{group}".replace("_", ""))
    ]
    return f" Write {' or '.join(found)}." if found else did_you_mean(name, allowed)


def choosing(word: str) -> str:
    """` Write reg=dropout.` where a group has the option; ` Write epochs=...` where the word is a key; else nothing."""
    found = [f"{group}={word}" for group in GROUPS if word != "none" and word in options(group)]
    if found:
        return f" Write {' or '.join(found)}"
    return f" Write {word}=..." if word in Settings.model_fields else ""
