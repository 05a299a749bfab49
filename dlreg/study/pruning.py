"""Median stopping: a trial whose validation curve is worse than most of those that are finished is not trained to its end.

What was cut is said by a sealed note in the run's folder, so that what a table says stays a function of the folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import BaseModel, ConfigDict

from dlreg import durable
from dlreg.errors import Stopped
from dlreg.run.fitter import first_history
from dlreg.run.loop import Report
from dlreg.run.result import FINAL, read

NOTE = "pruned.json"
LEAST = 5  # finished runs before one is cut
SHARE = 4  # no run is cut before a quarter of its epochs


class Note(BaseModel):
    """Why a run was cut: its best figure up to `epoch` (of `epochs`) against the median of so many finished runs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    column: str
    epoch: int
    epochs: int
    score: float
    median: float
    finished: int
    seconds: float

    def __str__(self) -> str:
        than = f"is worse than {self.median:.4g}, the median of {self.finished} trials"
        return f"cut after epoch {self.epoch} of {self.epochs}: {self.column} {self.score:.4g} {than}"


class Cut(Stopped):
    """A run is not worth its other epochs."""

    def __init__(self, note: Note) -> None:
        super().__init__(note)
        self.why = str(note)


def bar(curves: Sequence[Sequence[float]], epoch: int, epochs: int) -> float | None:
    """What the best of the first `epoch` values must not exceed; None where nothing is cut.

    $$median_j min_(s <= t) c_j(s)$$ over the finished curves c_j. Golovin et al. (2017), section 3.2.2,
    https://doi.org/10.1145/3097983.3098043, take the mean over s in place of the minimum; the minimum compares like with like,
    since a trial is judged by its own. A curve that ended early keeps its best.
    """
    if len(curves) < LEAST or SHARE * epoch < epochs or epoch >= epochs:
        return None
    return median(min(curve[:epoch]) for curve in curves)


def noted(folder: Path, column: str) -> Note | None:
    """Why the run was cut by this column; None if it was not, or if it was finished since, or if the note is damaged."""
    try:
        note = Note.model_validate(durable.read_json(folder / NOTE))
        result = read(folder)
    except (OSError, ValueError):  # what is damaged, the note or the result, is made again
        return None
    return note if note.column == column and not (result and result.status in FINAL) else None


@dataclass(frozen=True)
class Watch:
    """Whether a run of a trial is worth going on with."""

    column: str  # of the history
    trial: tuple[Path, ...]  # the runs of its trial: one on each tuning seed
    rivals: tuple[Path, ...]  # the runs on its seed of the row's other trials

    def notes(self) -> list[Note]:
        """Of its trial: one is enough to put the trial out."""
        return [note for folder in self.trial if (note := noted(folder, self.column))]

    def over(self, report: Report, folder: Path, epochs: int) -> Report:
        """A report that ends the run when it falls behind."""
        return _Watching(self, report, folder, epochs)


class _Watching:
    """Tells another report, and after each epoch looks whether the run is to be cut. Of several fits the first is watched."""

    def __init__(self, watch: Watch, report: Report, folder: Path, epochs: int) -> None:
        self.watch, self.report, self.folder, self.epochs = watch, report, folder, epochs
        self.history: list[dict[str, Any]] = []
        self.finished: dict[Path, list[float]] = {}  # a rival's curve, once it is there

    def step(self, done: float, loss: float) -> None:
        """Nothing to decide yet."""
        self.report.step(done, loss)

    def epoch(self, row: dict[str, Any]) -> None:
        """Raises Cut: the run is behind, and now there is a note."""
        self.report.epoch(row)
        if (self.folder / "checkpoint-1").exists():
            return
        resumed = not self.history and row["epoch"] > 1
        self.history = first_history(self.folder) if resumed else [*self.history, row]
        if note := self._verdict():
            durable.write_json(self.folder / NOTE, note.model_dump())
            raise Cut(note)

    def _verdict(self) -> Note | None:
        curve, epoch = _curve(self.history, self.watch.column), len(self.history)
        if len(curve) < epoch or SHARE * epoch < self.epochs:  # not measured; too early to read what others did
            return None
        curves = self._rivals()
        least = bar(curves, epoch, self.epochs)
        if least is None or min(curve) <= least:
            return None
        seconds = sum(row["seconds"] for row in self.history)
        return Note(column=self.watch.column, epoch=epoch, epochs=self.epochs, score=min(curve), median=least,
                    finished=len(curves), seconds=seconds)  # fmt: skip

    def _rivals(self) -> list[list[float]]:
        for folder in self.watch.rivals:
            if folder not in self.finished and (curve := _finished(folder, self.watch.column)):
                self.finished[folder] = curve
        return list(self.finished.values())


def _finished(folder: Path, column: str) -> list[float]:
    """The curve of a run that is done; empty where there is none."""
    try:
        result = read(folder)
    except (OSError, ValueError):
        return []
    return _curve(result.history, column) if result and result.status == "done" else []


def _curve(history: Sequence[dict[str, Any]], column: str) -> list[float]:
    """The column as far as it was measured: what is trained again on everything has no validation."""
    curve = []
    for row in history:
        if row.get(column) is None:
            break
        curve.append(row[column])
    return curve
