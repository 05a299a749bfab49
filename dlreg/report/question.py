"""What is asked of the runs of a table: which numbers, at which epoch, and how small a difference does not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dlreg.report.metrics import Select

if TYPE_CHECKING:
    from dlreg.report.spending import Looks

Population = Literal["seeds", "images"]

COLUMNS = ("test_error", "val_error", "gap", "seconds")  # of a table of folders; the first one is judged


@dataclass(frozen=True)
class Question:
    """What is asked of the runs."""

    metrics: Sequence[str] = COLUMNS  # the first one is the one that verdicts are about
    select: Select = "last"
    margin: float | None = None  # a difference below it does not matter, in the unit of the first metric
    population: Population = "seeds"  # over what a verdict must hold: new seeds alone, or new test images as well
    looks: Looks | None = None  # at which numbers of seeds each row is judged until it is settled
