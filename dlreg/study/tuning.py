"""Choosing a row's setting on validation, by runs on seeds that are not reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dlreg.run.result import figure_of
from dlreg.study.cells import Cell


class Trial(NamedTuple):
    """One setting of the hyperparameters that a row tunes, and its runs on the tuning seeds."""

    setting: tuple[str, ...]
    cells: tuple[Cell, ...]


def choose(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the lowest mean validation error, or squared error, then loss; None while one of them is not done.

    If every one diverged: the first, which will diverge as well, and say so.
    """
    scores = []
    for trial in trials:
        results = [cell.experiment.finished() for cell in trial.cells]
        if any(result is None for result in results):
            return None
        vals = [r.val["last"] for r in results if r and r.status == "done" and r.val and r.val["last"]]
        if len(vals) == len(results):
            scores.append((sum(v[figure_of(v)] for v in vals), sum(v["loss"] for v in vals), trial))
    return min(scores, key=lambda s: s[:2])[2] if scores else trials[0]
