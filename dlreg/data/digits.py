"""The embedded data: no download, no file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch

from dlreg.data.base import Dataset, Split, reads, stratified_order
from dlreg.errors import UserError

TEST = 360  # a fifth, the same samples for every seed


@reads(lambda root: [])  # part of an installed package
def digits(root: Path, download: bool) -> Dataset:
    """scikit-learn's digits: 1,797 real handwritten digits, 8 x 8 pixels, 10 classes.

    The test part of the UCI Optical Recognition of Handwritten Digits data (Alpaydin & Kaynak, 1998),
    https://archive.ics.uci.edu/dataset/80. It has no official split; a fixed, stratified fifth (360) is the test set.
    """
    raw = torch.from_numpy(_table())
    x = raw[:, :-1].mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    whole = Split(x, raw[:, -1].long())
    order = stratified_order(whole.y, torch.Generator().manual_seed(0))
    return Dataset(whole[order[TEST:]], whole[order[:TEST]], classes=10, upright=True)


def _table() -> np.ndarray:
    """64 grey values from 0 to 16 and a label per line: what `sklearn.datasets.load_digits` reads.

    The file is opened directly because importing scikit-learn takes a second, a fifth of the time to the first step.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("data=digits needs scikit-learn: pip install scikit-learn")
    return np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
