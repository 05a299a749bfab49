"""A table: rows of runs with their numbers, the columns, and the protocol that says what every number means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from dlreg.report.folds import overlap
from dlreg.report.metrics import Select
from dlreg.report.stats import Stat
from dlreg.report.tuning import Tuning
from dlreg.report.verdicts import Difference
from dlreg.run.result import Result, replicate

Kind = Literal["curves", "dots", "sweep", "path", "terms", "beside", "tuning", "fit", "regions"]  # of pictures


@dataclass(frozen=True)
class Published:
    """What a paper prints for a row, and whether our run may be held against it."""

    value: float
    sd: float | None = None
    why_not: str | None = None  # why it is not comparable; None: it is


@dataclass(frozen=True)
class Row:
    """One combination of techniques over its seeds. Only runs that are done have numbers."""

    label: dict[str, str]  # what tells it from the others
    status: dict[str, int]  # how many runs ended how; they sum to the runs planned
    metrics: dict[str, Stat | None]
    difference: Difference | None = None  # to its control, in the first metric
    against: str | None = None  # the name of its control: the baseline, or the row that it is a contrast to
    baseline: bool = False  # others are compared with it, and it with none
    best: bool = False  # the best, and different from every other row
    published: dict[str, Published] = field(default_factory=dict)
    goal: float | None = None  # what its mean is to be beyond, named beforehand, in the unit of the first metric
    note: str = ""
    runs: tuple[Result, ...] = ()  # those that are done, for the curves
    tuning: Tuning | None = None  # the trials that chose its setting
    wanted: int | None = None  # how many seeds it is to have by now, where looks decide that

    @property
    def seeds(self) -> list[int]:
        """Of the runs that are done."""
        return sorted(replicate(r.config) for r in self.runs)

    @property
    def name(self) -> str:
        """The label in one line."""
        return ", ".join(v for v in self.label.values() if v) or "all"

    @property
    def quoted(self) -> str:
        """The name inside a sentence: in quotes where it has commas of its own."""
        return f"'{self.name}'" if "," in self.name else self.name


@dataclass(frozen=True)
class Table:
    """Rows, the columns of their labels and of their numbers, and the protocol: what every number means."""

    columns: list[str]
    metrics: list[str]
    rows: list[Row]
    protocol: dict[str, str]
    select: Select = "last"
    margin: float | None = None  # differences below it do not matter, in the unit of the first metric
    title: str = ""
    text: str = ""
    test: str = ""  # by which the verdicts were given
    by: str | None = None  # the column that cuts the rows into blocks, each judged by itself
    picture: Kind = "dots"  # that suits it
    effects: dict[str, Any] | None = None  # of an ablation, as data
    reference: Literal["published", "theory"] = "published"  # what stands beside the measured numbers
    target: float | None = None  # validation error, in percent, to which epochs and seconds are counted

    def begins(self, i: int) -> bool:
        """Whether row i is the first of a block that is not the first."""
        return self.by is not None and i > 0 and self.rows[i].label[self.by] != self.rows[i - 1].label[self.by]


def curve(runs: Iterable[Result], key: str) -> list[tuple[int, Stat]]:
    """A learning curve over runs: the epoch and the values there, errors in percent, while at least one run goes on."""
    runs = list(runs)
    shared = overlap(runs)
    by_epoch: dict[int, list[float]] = {}
    scale = 100 if key.endswith("error") else 1
    for run in runs:
        for entry in run.history:
            if (value := entry.get(key)) is not None:
                by_epoch.setdefault(int(entry["epoch"] or 0), []).append(scale * value)
    return [(epoch, stat) for epoch in sorted(by_epoch) if (stat := Stat.of(by_epoch[epoch], overlap=shared))]
