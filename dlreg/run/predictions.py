"""What a finished run predicted for each test sample, read back from its folder. No torch: tables read it too."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlreg import durable
from dlreg.run.result import Result, Select

PREDICTIONS = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """Of one model, in the order of the test set: true and predicted classes `(N,)`, or values `(N, K)`."""

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None  # of the classes, `(N, K)`, to 3 digits; None where the loss knows none
    truth: np.ndarray | None = None  # the values without their noise, `(N, K)`, where they are known

    @property
    def beliefs(self) -> np.ndarray:
        """The probabilities, for whoever has seen that they are there."""
        assert self.probabilities is not None
        return self.probabilities


def predictions(result: Result, select: Select = "last") -> Predictions | None:
    """What the run predicted; None for a run from before this was kept, or if the file is damaged."""
    arrays = _intact(result.folder, result.files.get(PREDICTIONS))
    if arrays is None or f"predicted_{select}" not in arrays:
        return None
    probabilities, truth = arrays.get(f"probabilities_{select}"), arrays.get("truth")
    return Predictions(arrays["labels"], arrays[f"predicted_{select}"], probabilities, truth)


def wrong(result: Result, select: Select = "last") -> np.ndarray | None:
    """Which test samples it got wrong, `(N,)` bool, in their order; None as in `predictions`, and of values."""
    return _wrong(result.folder, result.files.get(PREDICTIONS), select)


@functools.lru_cache(maxsize=512)  # a baseline's runs are asked for by every other row
def _wrong(folder: Path | None, checksum: str | None, select: Select) -> np.ndarray | None:
    arrays = _intact(folder, checksum)
    if arrays is None or f"predicted_{select}" not in arrays:
        return None
    labels, predicted = arrays["labels"], arrays[f"predicted_{select}"]
    return None if labels.dtype.kind == "f" else np.asarray(labels != predicted)


def residuals(result: Result, select: Select = "last") -> tuple[np.ndarray, np.ndarray] | None:
    """What it predicted minus the truth, and the test values minus the truth, each `(N K,)`; None where no truth is known."""
    return _residuals(result.folder, result.files.get(PREDICTIONS), select)


@functools.lru_cache(maxsize=512)  # each of a row's terms asks for all runs of the row
def _residuals(folder: Path | None, checksum: str | None, select: Select) -> tuple[np.ndarray, np.ndarray] | None:
    arrays = _intact(folder, checksum)
    if arrays is None or "truth" not in arrays or f"predicted_{select}" not in arrays:
        return None
    truth = arrays["truth"]
    return (arrays[f"predicted_{select}"] - truth).ravel(), (arrays["labels"] - truth).ravel()


def _intact(folder: Path | None, checksum: str | None) -> Mapping[str, np.ndarray] | None:
    """The arrays, each read when it is asked for."""
    if folder is None or checksum is None:
        return None
    try:
        content = (folder / PREDICTIONS).read_bytes()
    except OSError:
        return None
    return np.load(io.BytesIO(content), allow_pickle=False) if durable.digest(content) == checksum else None
