"""What a run got wrong: by class, by pairs of classes, by confidence. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlreg.run.predictions import Predictions

BINS = 15  # as in `dlreg.run.evaluate`


def confusion(found: Predictions, classes: int) -> np.ndarray:
    """(K, K): how many samples of each class (row) were said to be of each (column)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (found.labels, found.predicted), 1)
    return counts


def brier(found: Predictions) -> float:
    """$$1/N sum_i sum_k (p_ik - y_ik)^2$$. Brier (1950), https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2

    It runs from 0 to 2; of two classes, this is twice what is sometimes called so.
    """
    one_hot = np.eye(found.beliefs.shape[1])[found.labels]
    return float(np.square(found.beliefs.astype(float) - one_hot).sum(1).mean())


@dataclass(frozen=True)
class Bin:
    """The samples whose confidence (that of the predicted class) lies in one of the bins of equal width."""

    low: float
    high: float
    samples: int
    confidence: float  # mean
    accuracy: float


def reliability(found: Predictions) -> list[Bin]:
    """Confidence and accuracy in 15 bins of the confidence, empty ones left out. Guo et al. (2017), eq. 1 and 2,
    https://arxiv.org/abs/1706.04599
    """
    confidence = found.beliefs.astype(float).max(1)
    right = found.labels == found.predicted
    member = np.clip(np.ceil(confidence * BINS).astype(int), 1, BINS) - 1
    return [
        Bin(i / BINS, (i + 1) / BINS, int(here.sum()), float(confidence[here].mean()), float(right[here].mean()))
        for i in range(BINS)
        if (here := member == i).any()
    ]


def calibration_error(bins: list[Bin]) -> float:
    """$$sum_b |B_b|/N |accuracy(B_b) - confidence(B_b)|$$. Guo et al. (2017), eq. 3."""
    total = sum(b.samples for b in bins)
    return sum(b.samples * abs(b.accuracy - b.confidence) for b in bins) / total


def worst(found: Predictions, most: int = 24) -> list[int]:
    """The mistakes that the model was surest of, the surest first."""
    mistaken = np.flatnonzero(found.labels != found.predicted)
    sure = found.beliefs[mistaken, found.predicted[mistaken]].astype(float)
    return [int(i) for i in mistaken[np.argsort(-sure, kind="stable")][:most]]
