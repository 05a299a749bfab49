"""`--target 2.0`: in how many epochs, and seconds, the validation error came below a target.

A run that never did has no such number, and a mean over the others would be one of the lucky runs: where any run missed
the target there is no mean, but how many came there, and from when on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dlreg.errors import UserError
from dlreg.report.stats import Stat
from dlreg.report.table import Row, Table
from dlreg.run.result import Result

ENDED = ("done", "diverged")  # runs that had their chance; the others are missing, not late


@dataclass(frozen=True)
class Reached:
    """Of one row: what the runs took that came below the target, and of how many."""

    epochs: Sequence[float]
    seconds: Sequence[float]
    runs: int  # that had their chance; 0 also where nothing was validated

    @classmethod
    def of(cls, row: Row, target: float) -> Reached:
        """`target` in percent. A run that diverged did not get there, whatever it did before."""
        found = [at for run in row.runs if (at := _reached(run, target))]
        validated = any(entry["val_error"] is not None for run in row.runs for entry in run.history)
        runs = sum(row.status.get(status, 0) for status in ENDED) if validated else 0
        return cls([epoch for epoch, _ in found], [seconds for _, seconds in found], runs)

    def stat(self, values: Sequence[float]) -> Stat | None:
        """Over all runs; None where one missed the target."""
        return Stat.of(values) if values and len(values) == self.runs else None


def targeted(table: Table, target: float) -> Table:
    """The table with the two columns, and what they mean.

    Raises:
        UserError: a run has no error in percent.
    """
    if any("val_error" not in entry for row in table.rows for run in row.runs for entry in run.history):
        raise UserError(f"--target {target:g} is a validation error in percent, and there are runs of values here")
    text = (
        f"epochs, and seconds of training and validation, until the validation error is first below {target:g} %; where "
        "a run of the row missed it there is no mean, but how many came there and what these took; a diverged run missed it"
    )
    return replace(table, target=target, protocol=table.protocol | {"Target": text})


def titles(target: float) -> dict[str, str]:
    """The two columns: the field of `Reached` and its heading."""
    return {name: f"{name} to val error < {target:g} %" for name in ("epochs", "seconds")}


def _reached(run: Result, target: float) -> tuple[float, float] | None:
    """The first epoch whose validation error is below the target, and the seconds of training and validation up to its end."""
    seconds = 0.0
    for entry in run.history:
        seconds += entry.get("seconds") or 0.0
        if entry["val_error"] is not None and 100 * entry["val_error"] < target:
            return float(entry["epoch"] or 0), seconds
    return None
