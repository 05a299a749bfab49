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


def predictions(result: Result, select: Select = "last") -> Predictions | None:
    """What the run predicted; None for a run from before this was kept, or if the file is damaged."""
    arrays = _intact(result.folder, result.files.get(PREDICTIONS))
    if arrays is None or f"predicted_{select}" not in arrays:
        return None
    return Predictions(arrays["labels"], arrays[f"predicted_{select}"], arrays.get(f"probabilities_{select}"))


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


def _intact(folder: Path | None, checksum: str | None) -> Mapping[str, np.ndarray] | None:
    """The arrays, each read when it is asked for."""
    if folder is None or checksum is None:
        return None
    try:
        content = (folder / PREDICTIONS).read_bytes()
    except OSError:
        return None
    return np.load(io.BytesIO(content), allow_pickle=False) if durable.digest(content) == checksum else None
