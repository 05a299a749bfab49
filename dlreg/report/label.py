"""Runs in words: what a config says, what tells rows apart, how labels sort."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlreg.config.schema import GROUPS, walk
from dlreg.run.result import NOT_IDENTITY, NOT_IDENTITY_DATA, Result, figure_of
from dlreg.ui import told

NAMES = {"error": "error", "mse": "squared error"}  # of what a task is measured by, in a line of text
PLAIN = ("none", "default", "constant", "cross_entropy", "sgd", "")  # what a baseline is made of


def describe(config: Mapping[str, Any]) -> dict[str, str]:
    """A run in words: `optimizer -> adam`, `reg -> dropout+maxnorm`, `reg.dropout.p -> 0.3`, `epochs -> 20` ..."""
    words: dict[str, str] = {}
    for key, value in config.items():
        if key in NOT_IDENTITY or key == "seed":
            continue
        if key == "content":  # what no name stands for: digests of data and plugins, revisions of options
            words |= {"data.content" if name == "data" else f"{name}.revision" if "." in name else name: found[:10]
                      for name, found in value.items()}  # fmt: skip
            continue
        if key not in GROUPS:
            words[key] = typed(value)
            continue
        stack = GROUPS[key].stack
        words[key] = ("+".join(value) or "none") if stack else str(value.get("name"))
        for leaf, content in walk(value):
            last = leaf.rsplit(".", 1)[-1]
            if last == "name" or (key == "data" and leaf in ("fold", *NOT_IDENTITY_DATA)) or content == {}:
                continue
            words[f"{key}.{leaf}"] = typed(content)
    return words


def words_of(result: Result) -> dict[str, str]:
    """What a run may be asked about: its config, its seed and how it ended, and what it was made with."""
    git = result.git or {}
    commit = f"{str(git.get('commit') or '')[:10]}{'+changes' * bool(git.get('changed'))}"
    made = {"version": result.versions.get("dlreg"), "torch": result.versions.get("torch"), "commit": commit}
    known = {name: value for name, value in made.items() if value}
    return describe(result.config) | {"seed": str(result.config["seed"]), "status": result.status} | known


def typed(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list):
        return _list(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _list(values: Sequence[Any]) -> str:
    """Widths as `800x800`; rates, epochs and ranges as they are typed, `[8,13,16]`."""
    if values and all(isinstance(v, int) for v in values):
        return "x".join(map(str, values))
    return f"[{','.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}]"


def varying(described: Sequence[dict[str, str]]) -> list[str]:
    """The keys that tell rows apart: options that differ, and parameters that differ under the same option."""
    keys = list(dict.fromkeys(key for words in described for key in words))
    found = []
    for key in keys:
        group = key.split(".")[0]
        if "." not in key:
            differs = len({words.get(key) for words in described}) > 1
        else:
            # A parameter comes and goes with its option: only a difference within one choice of it says anything.
            by_choice: dict[str, set[str]] = {}
            for words in described:
                if key in words:
                    choice = "" if GROUPS[group].stack else words[group]
                    by_choice.setdefault(choice, set()).add(words[key])
            differs = any(len(values) > 1 for values in by_choice.values())
        if differs:
            found.append(key)
    return sorted(found, key=lambda k: (list(GROUPS).index(k.split(".")[0]) if k.split(".")[0] in GROUPS else 99, k))


def plainest(labels: Sequence[tuple[tuple[str, str], ...]], wanted: str | None) -> int | None:
    """The index of the label with the word `wanted` in it, or else of the one with the fewest techniques."""
    if wanted is not None:
        return next((i for i, label in enumerate(labels) if wanted in " ".join(f"{k}={v}" for k, v in label)), None)
    places = [(sum(v not in PLAIN for _, v in label), place(v for _, v in label)) for label in labels]
    return places.index(min(places)) if places else None


def counterpart(labels: Sequence[tuple[tuple[str, str], ...]], i: int, word: str) -> int | None:
    """The index of the label that has the word `key=value`, or a value, and is otherwise label i; None if none is.

    `none` is taken for every key that has such a value: `--against none` and `--against reg=none` say the same where only
    `reg` varies.
    """
    mine = dict(labels[i])
    for j, label in enumerate(labels):
        changed = sorted((key for key, value in label if mine[key] != value), key=len)
        if changed and all(key == changed[0] or key.startswith(f"{changed[0]}.") for key in changed):
            value = dict(label)[changed[0]]
            if word in (value, f"{changed[0]}={value}"):
                return j
    return None


def number(text: str) -> float | None:
    """The finite number that a text is, if it is one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def place(values: Iterable[str]) -> list[tuple[bool, float, str]]:
    """Where a label sorts: plain options first, numbers by size, words by letters."""
    found = []
    for value in values:
        size = number(value)
        found.append((value not in PLAIN, float("inf") if size is None else size, value))
    return found


def outcome(result: Result) -> str:
    """One line about how a run ended."""
    if result.status != "done":
        return f"{result.status}: {result.message}"
    assert result.test
    last = result.test["last"]
    assert last
    return f"test {NAMES[figure_of(last)]} {told(last)}  ({result.seconds or 0.0:.1f} s)"
