"""What the words of a command say of a study: its seeds, its looks, its tuning, and which overrides are its runs'."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dlreg.config import guard
from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.label import number
from dlreg.report.metrics import JUDGED, METRICS

if TYPE_CHECKING:
    from dlreg.report.spending import Looks
    from dlreg.study.file import StudyRow
    from dlreg.study.plan import Plan

LEAST_LOOKED, MOST_LOOKED = 3, 1000  # seeds: fewer tell nothing about a row's spread
MOST_TRIALS = 10_000  # of a row; more is a slip of the pen
OWN = ("budget", "trials", "search", "tune_seeds", "prune")  # words of a study, not of an experiment


def named(words: Sequence[str]) -> str | None:
    """The first word that is no KEY=VALUE."""
    return next((word for word in words if "=" not in word), None)


def planned(name: str, given: argparse.Namespace, folders: Sequence[str]) -> Plan:
    """The plan of the study that the arguments of a command name."""
    from dlreg.study.file import find  # torch comes with it
    from dlreg.study.plan import Request, plan

    if strangers := [word for word in given.words if "=" not in word and word != name]:
        raise UserError(f"{strangers[0]}: one study at a time, and KEY=VALUE")
    own, others = split([word for word in given.words if "=" in word])
    seeds, looks, changes = seeds_asked(others)
    extra = [_row(text) for text in given.row]
    asked = Request(
        find(name, folders), own.get("budget"), seeds, changes, extra, folders, looks, given.margin, tuning_of(own)
    )
    return plan(asked)


def split(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The words of the study itself, by key, and the others: seeds, and the overrides of its experiments."""
    guard.once(words)
    if any(word.startswith("seed=") for word in words):
        raise UserError("seed: a study runs several; give seeds=5 or seeds=0,1,2")
    own = {key: value for key, _, value in (word.partition("=") for word in words) if key in OWN}
    return own, [word for word in words if word.partition("=")[0] not in OWN]


def seeds_asked(words: Sequence[str]) -> tuple[list[int] | None, Looks | None, list[str]]:
    """`(seeds, looks, other words)`: what `seeds=` and `max_seeds=` say of the KEY=VALUE words; None where they say nothing.

    Raises:
        UserError: they say what cannot be, or `max_seeds` stands there without `seeds=auto`.
    """
    own = dict(word.split("=", 1) for word in words if word.startswith(("seeds=", "max_seeds=")))
    others = [word for word in words if not word.startswith(("seeds=", "max_seeds="))]
    most = own.get("max_seeds")
    if own.get("seeds") == "auto":
        from dlreg.report.spending import Looks  # scipy comes with it

        return None, Looks() if most is None else Looks(_max_seeds(most)), others
    if most is not None:
        raise UserError(f"max_seeds={shown(most)} goes with seeds=auto; a fixed number is seeds=5")
    return _seeds(own["seeds"]) if "seeds" in own else None, None, others


def _max_seeds(text: str) -> int:
    try:
        most = int(text)
    except ValueError:
        most = 0
    if not LEAST_LOOKED <= most <= MOST_LOOKED:
        raise UserError(f"max_seeds={shown(text)} must be a whole number from {LEAST_LOOKED} to {MOST_LOOKED}")
    return most


def _seeds(text: str) -> list[int]:
    """`5` is how many, `0,1,2` or `[7]` which."""
    found = _whole(text)
    if "," not in text and "[" not in text and found and found[0] > 0:
        return list(range(found[0]))
    if not found or len(set(found)) < len(found) or ("," not in text and "[" not in text):
        raise UserError(f"seeds={text} must be how many (5), which (0,1,2), or auto")
    return found


def tuning_of(own: Mapping[str, str]) -> dict[str, Any]:
    """What a command line says of tuning, in place of what the study says."""
    from dlreg.study.sampling import SAMPLERS

    found: dict[str, Any] = {}
    if "trials" in own:
        number = _whole(own["trials"])
        if len(number) != 1 or not 0 < number[0] <= MOST_TRIALS:
            raise UserError(f"trials={own['trials']} must be a number from 1 to {MOST_TRIALS}")
        found["trials"] = number[0]
    if "search" in own:
        if own["search"] not in SAMPLERS:
            hint = did_you_mean(own["search"], SAMPLERS)
            raise UserError(f"search={own['search']}: there is no such way.{hint} Allowed: {', '.join(SAMPLERS)}.")
        found["search"] = own["search"]
    if "tune_seeds" in own:
        which = _whole(own["tune_seeds"])
        if not which or len(set(which)) < len(which):
            raise UserError(f"tune_seeds={own['tune_seeds']} must be which seeds (1000 or 1000,1001)")
        found["tune_seeds"] = which
    if "prune" in own:
        if own["prune"] not in ("true", "false"):
            raise UserError(f"prune={shown(own['prune'])} must be true or false")
        found["prune"] = own["prune"] == "true"
    return found


def columns_of(text: str) -> list[str]:
    """The columns that `--columns` names."""
    found = text.split(",")
    for name in found:
        if name not in METRICS:
            hint = f"{did_you_mean(name, METRICS)} Allowed: {', '.join(METRICS)}."
            raise UserError(f"--columns: {shown(name)} is not one.{hint}")
    if found[0] not in JUDGED:
        raise UserError(
            f"--columns: {found[0]} is of all runs of a row together and cannot be judged; begin with another"
        )
    return found


def _whole(text: str) -> list[int]:
    """Numbers from 0 on with commas between them; none if there is anything else."""
    try:
        found = [int(part) for part in text.strip("[]").split(",")]
    except ValueError:
        return []
    return found if min(found) >= 0 else []


def _row(text: str) -> StudyRow:
    from dlreg.study.file import StudyRow

    label, colon, words = text.partition(":")
    if not colon or not label.strip() or any("=" not in word for word in words.split()):
        raise UserError(f"--row {text!r} must be 'LABEL: KEY=VALUE KEY=VALUE'")
    guard.once(words.split())
    return StudyRow(label=label.strip(), overrides=words.split())


def margin(text: str) -> float:
    """What `--margin` says.

    Raises:
        UserError: it is not a number above 0.
    """
    value = number(text)
    if value is None or not 0 < value < math.inf:
        raise UserError(f"--margin={text} must be a number above 0, in the unit of the judged column")
    return value
