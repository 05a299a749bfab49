"""What a row may tune: for each key a list of values, or an interval; written in YAML or in the words of Hydra's grammar."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from dlreg.errors import shown
from dlreg.run.result import NOT_IDENTITY

DIGITS = 4  # of a sampled number: what a person can read, and no machine's last bit decides the name of a run
EDGE = 0.05  # of an interval, at either end: a choice there is on its edge
GAP = 1 / 3  # of an interval: with more than that left out beside a choice, chance may have decided it
ALLOWED = (
    "a list of values, {low: 1e-4, high: 1, log: true}, or Hydra's interval(0,0.8), tag(log,interval(1e-4,1)), "
    "choice(a,b), range(1,4)"
)
TUNE = "tune"  # tag(tune,choice(64,128)): on a command line values to be tuned, where a plain sweep makes rows
FIXED = ("seed", *NOT_IDENTITY)  # keys that are no hyperparameters
Setting = tuple[str, ...]  # one point of a space, as overrides


class Interval(BaseModel):
    """Every number from `low` to `high`: equally likely, or with `log` its logarithm is; `int` for whole numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    low: float
    high: float
    log: bool = False
    whole: bool = Field(False, alias="int")

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if not self.low < self.high:
            raise ValueError(f"low={self.low:g} must be less than high={self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low:g} must be above 0 on a logarithmic scale")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"an interval of whole numbers ends at whole numbers, not at {self}")
        return self

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + " (log)" * self.log

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.whole else math.inf

    def at(self, u: float) -> float:
        """The value at a share u of the interval, 0 <= u < 1: if u is uniform, so is the value (or its logarithm)."""
        half = 0.5 * self.whole  # each whole number has the room around it
        low, high = self._scaled(self.low - half), self._scaled(self.high + half)
        value = low + u * (high - low)
        return self.rounded(math.exp(value) if self.log else value)

    def rounded(self, value: float) -> float:
        """A value of the interval that can be written in a few digits."""
        return min(max(round(value) if self.whole else float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def text(self, value: float) -> str:
        """A value as one writes it in an override."""
        return f"{self.rounded(value):.12g}"

    def position(self, value: float) -> float:
        """Where a value lies, 0 at `low` and 1 at `high`, on the interval's own scale."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


def axis(given: Any) -> list[Any] | Interval:
    """What a study file gives for a key. A list is a list of values, whatever stands in it; never an interval.

    Raises:
        ValueError: it is none of `ALLOWED`.
    """
    if isinstance(given, list) and given:
        return given
    if isinstance(given, Interval):
        return given
    if isinstance(given, Mapping):
        try:
            return Interval.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{where}: {first['msg']}".removeprefix(": ")) from None
    if isinstance(given, str) and (found := of_override(_parsed(given))) is not None:
        return found
    raise ValueError(f"{shown(given)} must be {ALLOWED}")


Axis = Annotated[Any, PlainValidator(axis)]  # of a study file
Space = Mapping[str, "list[Any] | Interval"]  # key -> its axis


def of_override(override: Override | None) -> list[Any] | Interval | None:
    """What an override with a sweep gives for its key; None for one without.

    Raises:
        ValueError: the sweep has a tag that says nothing here, or an interval that is none.
    """
    swept = override.value() if override else None
    if not isinstance(swept, (IntervalSweep, ChoiceSweep, RangeSweep)):
        return None
    kind, tag = ("an interval", "log") if isinstance(swept, IntervalSweep) else ("a list of values", TUNE)
    if strange := set(swept.tags) - {tag}:
        raise ValueError(f"tag {min(map(str, strange))} says nothing of {kind}; allowed: {tag}")
    if isinstance(swept, IntervalSweep):
        low, high = swept.start, swept.end
        return axis({"low": low, "high": high, "log": "log" in swept.tags, "int": isinstance(low, int)})
    assert override is not None
    return list(dict.fromkeys(override.sweep_string_iterator()))


def _parsed(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(f"key={text}")
    except Exception:  # Hydra's, the grammar's
        return None


def size(space: Space) -> float:
    """How many points there are."""
    return math.prod(a.size if isinstance(a, Interval) else len(a) for a in space.values())


def sampled(space: Space) -> bool:
    """Whether points must be drawn: a space of lists alone is tried whole, as a grid."""
    return any(isinstance(a, Interval) for a in space.values())


def count(space: Space, trials: int) -> int:
    """How many points are tried: all of a grid, and of another space at most `trials`."""
    return int(min(trials, size(space)) if sampled(space) else size(space)) if space else 0


def grid(space: Space) -> list[Setting]:
    """Every point of a space without real intervals, as overrides; nothing for nothing."""
    if not space:
        return []
    values = [range(int(a.low), int(a.high) + 1) if isinstance(a, Interval) else a for a in space.values()]
    return [tuple(f"{key}={v}" for key, v in zip(space, point, strict=True)) for point in itertools.product(*values)]


def setting(space: Space, point: Sequence[float]) -> Setting:
    """The point of the unit cube as overrides."""
    return tuple(
        f"{key}={a.text(a.at(u))}" if isinstance(a, Interval) else f"{key}={a[int(u * len(a))]}"
        for (key, a), u in zip(space.items(), point, strict=True)
    )


def edges(space: Space, chosen: Setting) -> list[str]:
    """What of a choice lies on the edge of its space: at an end of a list of numbers, in the outer 5 % of an interval."""
    found = []
    for word in chosen:
        key, _, value = word.partition("=")
        where = space[key]
        if isinstance(where, Interval):
            if not EDGE < where.position(float(value)) < 1 - EDGE:
                found.append(f"{word} is on the edge of {where}: widen it")
        elif len(numbers := sorted(_numbers(where))) > 1 and float(value) in (numbers[0], numbers[-1]):
            found.append(f"{word} is on the edge of {', '.join(map(str, where))}: widen it")
    return found


def gaps(space: Space, tried: Sequence[Setting], chosen: Setting) -> list[str]:
    """Beside which values of a choice more than a third of an interval was never tried, whatever the other keys were."""
    found = []
    for key, where in space.items():
        if not isinstance(where, Interval):
            continue
        own = _value(chosen, key)
        values = sorted({where.low, own, *(_value(point, key) for point in tried), where.high})
        at = values.index(own)
        for low, high in itertools.pairwise(values[max(at - 1, 0) : at + 2]):
            between = not where.whole or high - low > 1
            if between and where.position(high) - where.position(low) > GAP:
                found.append(f"nothing was tried between {key}={low:g} and {high:g}: add trials")
    return found


def _value(point: Setting, key: str) -> float:
    return next(float(word.partition("=")[2]) for word in point if word.startswith(f"{key}="))


def _numbers(values: Sequence[Any]) -> set[float]:
    """Of a list of numbers; empty if it holds anything else."""
    try:
        return {float(str(value)) for value in values}
    except ValueError:
        return set()
