"""What a finished run predicted for each test sample, read back from its folder. No torch: tables read it too."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlreg import durable

PREDICTIONS = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """Of one model, in the order of the test set: true and predicted classes `(N,)`, probabilities `(N, K)` to 3 digits."""

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """Which samples it got wrong, `(N,)` bool."""
        return self.labels != self.predicted


def predictions(folder: Path, select: str = "last") -> Predictions | None:
    """What the run in `folder` predicted; None for a run from before this was kept, or if the file is damaged."""
    content = durable.read_listed(folder, PREDICTIONS)
    if content is None:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if f"predicted_{select}" not in arrays:
            return None
        return Predictions(arrays["labels"], arrays[f"predicted_{select}"], arrays[f"probabilities_{select}"])
