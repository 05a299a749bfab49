"""Choosing a row's setting by runs on seeds that are not reported: what is tried, and which of it is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dlreg.report.label import outcome
from dlreg.run.result import Result, Select
from dlreg.study.cells import Cell
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
        """Whether every run is final."""
        return len(self.results) == len(self.cells)


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
        """The mean over the tuning seeds, and to break ties that of the loss; None for a trial that diverged on one."""
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
        trials = trials or tuple(self.made(self._first()))
        if not self.adaptive:
            return trials
        new, tried = trials, list[tuple[Setting, float | None]]()
        while all(trial.finished for trial in new):
            tried += [(trial.setting, (self.criterion.score(trial) or [None])[0]) for trial in new]
            if len(tried) >= self.total:
                break
            new = tuple(self.made([propose(self.space, tried, self.seed)]))
            trials += new
        return trials

    def choose(self, trials: Sequence[Trial]) -> Trial | None:
        """The best trial; None while one of them is not done. If every one diverged: the first, which will say so."""
        if not all(trial.finished for trial in trials):
            return None
        scored = [(score, trial) for trial in trials if (score := self.criterion.score(trial))]
        return min(scored, key=lambda found: found[0])[1] if scored else trials[0]

    def _first(self) -> list[Setting]:
        if not sampled(self.space):
            return grid(self.space)
        if self.sampler == "tpe":
            return sample(self.space, min(self.trials, STARTUP), self.seed, "random")
        return sample(self.space, self.trials, self.seed, self.sampler)
