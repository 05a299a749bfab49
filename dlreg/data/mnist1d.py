"""MNIST-1D: ten classes of signals of length 40, made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dlreg.context import derive_seed
from dlreg.data.base import Dataset, Split, generated
from dlreg.hyper import Natural

TRAIN, TEST, LENGTH = 4000, 1000, 40
STRETCHED = 72  # length before the last resampling: 12 points of a template and 60 of padding
PADDING, SHIFTS = (36, 60), 48  # points that are appended, at least and at most; how many shifts there are
SCALE, SHEAR = 0.4, 0.75  # widths of the uniform factors about 1 and about 0
CORRELATED, SMOOTH, WHITE = 0.25, 2.0, 0.02  # noise beside the digit, the width of its filter; noise everywhere
TEMPLATES = (  # a stroke through each digit: its 12 heights
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


@generated
def mnist1d(root: Path, download: bool, *, draw: Natural) -> Dataset:
    """MNIST-1D: 4,000 + 1,000 signals of length 40, ten classes as many of each, in units of their standard deviation.

    Greydanus (2020), https://arxiv.org/abs/2011.14439: a template of 12 points is padded with zeros, stretched, scaled
    and shifted in a circle; smooth noise fills what is zero, white noise is added, a slope taken off, and the whole resampled.
    Its reported accuracies are 32 % (logistic regression), 68 (MLP), 94 (CNN) and 96 (a person). The recipe is the published
    one with random numbers of our own: other samples of the same distribution than those of the authors' file. `draw` numbers
    independent sets, training and test.
    """
    rng = np.random.default_rng(derive_seed(draw, "mnist1d"))
    labels = np.arange(TRAIN + TEST) % len(TEMPLATES)
    heights = np.array(TEMPLATES)
    heights = (heights - heights.mean(1, keepdims=True)) / heights.std(1, keepdims=True)
    heights = (heights - heights[:, :1]) / 6
    signals = np.stack([_signal(heights[label], rng) for label in labels])
    x = torch.from_numpy((signals - signals.mean()) / signals.std())
    y = torch.from_numpy(labels)
    return Dataset(Split(x[:TRAIN], y[:TRAIN]), Split(x[TRAIN:], y[TRAIN:]), classes=len(TEMPLATES))


def _signal(template: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One sample `(40,)`."""
    from scipy.ndimage import gaussian_filter1d  # slow to load

    padded = np.pad(template, (0, int(rng.integers(PADDING[0], PADDING[1] + 1))))
    digit = np.pad(np.ones(len(template)), (0, len(padded) - len(template)))
    shift = int(rng.integers(SHIFTS))
    x = np.roll(_resampled(padded, STRETCHED) * (1 + SCALE * (rng.random() - 0.5)), shift)
    beside = np.roll(_resampled(digit, STRETCHED), shift) == 0
    x[beside] = gaussian_filter1d(CORRELATED * rng.standard_normal(STRETCHED), SMOOTH)[beside]
    x += WHITE * rng.standard_normal(STRETCHED)
    x -= SHEAR * (rng.random() - 0.5) * np.linspace(-0.5, 0.5, STRETCHED)
    return _resampled(x, LENGTH)


def _resampled(x: np.ndarray, n: int) -> np.ndarray:
    """Linearly, to n points."""
    return np.interp(np.linspace(0, len(x) - 1, n), np.arange(len(x)), x)
