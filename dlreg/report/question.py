"""What is asked of the runs of a table: which numbers, at which epoch, and how small a difference does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from dlreg.report.folds import overlap
from dlreg.report.metrics import Select
from dlreg.run.result import FIGURES, Result, figure_of

if TYPE_CHECKING:
    from dlreg.report.spending import Looks

Population = Literal["seeds", "images"]

# Of a table of folders, by what the runs are measured by; the first one is judged.
COLUMNS = {
    "error": ("test_error", "val_error", "gap", "seconds"),
    "mse": ("test_mse", "r2", "val_mse", "train_mse", "seconds"),
}


@dataclass(frozen=True)
class Question:
    """What is asked of the runs."""

    metrics: Sequence[str] = ()  # the first one is the one that verdicts are about; none: those of the runs' task
    select: Select = "last"
    margin: float | None = None  # a difference below it does not matter, in the unit of the first metric
    population: Population = "seeds"  # over what a verdict must hold: new seeds alone, or new test images as well
    looks: Looks | None = None  # at which numbers of seeds each row is judged until it is settled

    def of(self, results: Iterable[Result]) -> Question:
        """The question with columns: where none are asked for, those of the runs' tasks, classes before values."""
        if self.metrics:
            return self
        results = list(results)
        found = {figure_of(r.train) for r in results if r.train} or {FIGURES[0]}
        names = [name for figure in FIGURES if figure in found for name in COLUMNS[figure]]
        if overlap(results):  # what folds are made for comes first
            names.sort(key=lambda name: not name.startswith("val_"))
        return replace(self, metrics=names)
