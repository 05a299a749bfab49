"""Choosing a row's setting by runs on seeds that are not reported: what is tried, and which of it is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dlreg.report.label import outcome
from dlreg.run.result import FIGURES, Result, Select
from dlreg.study.cells import Cell
from dlreg.study.pruning import Note, Watch
from dlreg.study.sampling import STARTUP, Sampler, propose, sample
from dlreg.study.spaces import Setting, Space, count, grid, sampled
from dlreg.ui import percent

COUNTERPARTS = {  # what is judged -> what chooses: (split, key, its name), never of the test set
    "nll": ("val", "nll", "validation NLL"),
    "ece": ("val", "ece", "validation ECE"),
    "top5_error": ("val", "top5_error", "validation top-5 error"),
    "train_error": ("train", "error", "training error"),
    "train_loss": ("train", "loss", "training loss"),
    "train_mse": ("train", "mse", "training MSE"),
    **dict.fromkeys(["test_mse", "r2", "val_mse"], ("val", "mse", "validation MSE")),
}
ERROR = ("val", "error", "validation error")  # for all else


class Trial(NamedTuple):
    """One setting of the hyperparameters that a row tunes, and its runs on the tuning seeds."""

    setting: Setting
    cells: tuple[Cell, ...]

    @property
    def results(self) -> list[Result]:
        """Of the runs that are final."""
        return [result for cell in self.cells if (result := cell.experiment.finished())]

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to run: every run is final, or the trial was cut."""
        return all(cell.over for cell in self.cells)

    @property
    def cut(self) -> bool:
        """Whether it was given up before its end."""
        return any(cell.cut for cell in self.cells)

    @property
    def seconds(self) -> float:
        """That its runs took, to their end or until they were cut."""
        return sum(result.seconds or 0.0 for result in self.results) + sum(note.seconds for note in self._notes)

    @property
    def epochs(self) -> tuple[int, int]:
        """`(planned, spared by a cut)`."""
        planned = sum(cell.experiment.settings.epochs for cell in self.cells)
        ended = sum(cell.experiment.settings.epochs for cell in self.cells if cell.cut)
        return planned, ended - sum(note.epoch for note in self._notes)

    def watched(self, among: Sequence[Trial], column: str) -> Trial:
        """The same trial, to be cut where it falls behind those of its row."""
        own = tuple(cell.experiment.folder for cell in self.cells)
        rivals = [[t.cells[i].experiment.folder for t in among if t is not self] for i in range(len(own))]
        watches = [Watch(column, own, tuple(folders)) for folders in rivals]
        cells = tuple(replace(cell, watch=watch) for cell, watch in zip(self.cells, watches, strict=True))
        return self._replace(cells=cells)

    @property
    def _notes(self) -> list[Note]:
        """On its runs that were cut: each cell's watch sees those of all."""
        watch = self.cells[0].watch
        return watch.notes() if watch else []


@dataclass(frozen=True)
class Criterion:
    """The number that is lowest for the best trial: the counterpart, before the test set, of what the study judges."""

    metric: str
    select: Select = "last"

    @property
    def on_validation(self) -> bool:
        """Whether it needs a validation set."""
        return self._counterpart[0] == "val"

    @property
    def name(self) -> str:
        """What chooses, in words."""
        return self._counterpart[2]

    @property
    def curve(self) -> str | None:
        """The column of the history that says after each epoch how it stands; None where only the end tells."""
        split, key, _ = self._counterpart
        return f"val_{key}" if split == "val" and key in FIGURES else None

    @property
    def percent(self) -> bool:
        """Whether it is shown as a percentage: errors and ECE are fractions in results."""
        return self._counterpart[1] not in ("loss", "nll", "mse")

    def told(self, result: Result) -> str:
        """One line about how a run of a trial ended: what chooses, and not the test error."""
        score = self._of(result)
        if score is None:
            return outcome(result) if result.status != "done" else f"no {self.name}"
        return (
            f"{self.name} {percent(score[0]) if self.percent else f'{score[0]:.4f}'}  ({result.seconds or 0.0:.1f} s)"
        )

    def score(self, trial: Trial) -> tuple[float, float] | None:
        """The mean over the tuning seeds, and to break ties that of the loss; None if one diverged or was cut."""
        scores = [self._of(result) for result in trial.results]
        if len(scores) < len(trial.cells) or None in scores:
            return None
        first, second = zip(*(score for score in scores if score), strict=True)
        return sum(first) / len(first), sum(second) / len(second)

    @property
    def _counterpart(self) -> tuple[str, str, str]:
        return COUNTERPARTS.get(self.metric, ERROR)

    def _of(self, result: Result) -> tuple[float, float] | None:
        split, key, _ = self._counterpart
        found = result.train if split == "train" else result.val[self.select] if result.val else None
        value = found.get(key, found["loss"] if key == "nll" else None) if found and result.status == "done" else None
        return (value, found["loss"] or 0.0) if found and value is not None else None


@dataclass(frozen=True)
class Search:
    """How a row is tuned. A space of lists alone is tried whole, as a grid; else there are `trials` points of it."""

    space: Space
    trials: int
    sampler: Sampler
    seed: int  # of the points
    criterion: Criterion
    made: Callable[[Sequence[Setting]], list[Trial]]  # settings -> trials, composed and checked
    prune: str | None = None  # the column of the history by which trials are cut

    @property
    def total(self) -> int:
        """How many trials there will be."""
        return count(self.space, self.trials)

    @property
    def adaptive(self) -> bool:
        """Whether a trial depends on those before it, so that their order matters."""
        return sampled(self.space) and self.sampler == "tpe"

    def extended(self, trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        """The trials, with those that can be known now: all of them, but for a sampler that waits for results."""
        trials = trials or self._added(self._first(), ())
        if not self.adaptive:
            return trials
        new, tried = trials, list[tuple[Setting, float | None]]()
        while all(trial.finished for trial in new):
            tried += [(trial.setting, (self.criterion.score(trial) or [None])[0]) for trial in new]
            if len(tried) >= self.total:
                break
            new = self._added([propose(self.space, tried, self.seed)], trials)
            trials += new
        return trials

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        """The best trial; None while one of them is not done. If every one diverged: the first, which will say so."""
        if not all(trial.finished for trial in trials):
            return None
        scored = [(score, trial) for trial in trials if (score := self.criterion.score(trial))]
        return min(scored, key=lambda found: found[0])[1] if scored else trials[0]

    def _added(self, points: Sequence[Setting], before: tuple[Trial, ...]) -> tuple[Trial, ...]:
        """The trials of these points, each with an eye on the others."""
        new = self.made(points)
        return tuple(trial.watched([*before, *new], self.prune) if self.prune else trial for trial in new)

    def _first(self) -> list[Setting]:
        if not sampled(self.space):
            return grid(self.space)
        if self.sampler == "tpe":
            return sample(self.space, min(self.trials, STARTUP), self.seed, "random")
        return sample(self.space, self.trials, self.seed, self.sampler)
