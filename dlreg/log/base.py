"""What a tracker is: an observer of a run, which changes nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

Look = Callable[[], Sequence[Any]]  # -> the `dlreg.run.layers.Layer`s of the model as it now is


@dataclass(frozen=True)
class Begun:
    """A run that begins, or goes on after it was cut short."""

    name: str  # of its folder: the same experiment has the same name
    folder: Path
    config: Mapping[str, Any]


class Tracker:
    """An observer of a run. What it raises ends the observation, never the run: a remark of the result says so.

    `__init__` stores hyperparameters and touches nothing. An interrupted run that goes on begins again, under the same
    name, and tells only the epochs that follow.
    """

    needs: ClassVar[str] = ""  # a package that dlreg does not bring along; the extra of the same name installs it

    def begin(self, run: Begun) -> None:
        """The run begins; nothing was trained yet."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """A row of the history: epoch (from 1), losses, errors, lr, seconds; and `fit`, the number of the model (from 1)."""

    def layers(self, row: Mapping[str, Any], look: Look) -> None:
        """After `epoch`: what goes on in the layers, for whoever calls `look()`, which costs a batch and a step of a copy."""

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """The run ended: done, diverged, failed or interrupted. Of one that is done, its numbers: `test_error` and so on."""


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"reg": {"l2": {"alpha": 0.1}}}` -> `{"reg.l2.alpha": 0.1}`, for programs that keep parameters in one list."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def curves(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row that are drawn over its epoch; of the second model on, the names begin with `fit2/` ..."""
    prefix = f"fit{row['fit']}/" if row["fit"] > 1 else ""
    return {f"{prefix}{k}": float(v) for k, v in row.items() if k not in ("epoch", "fit") and v is not None}
