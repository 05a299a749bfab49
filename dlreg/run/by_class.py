"""Errors of classes apart, for data whose classes differ in size: each class counts as much as every other."""

from __future__ import annotations

from torch import Tensor

from dlreg.data.base import Split
from dlreg.data.imbalance import lopsided, thirds
from dlreg.data.task import word_of


def by_class(outputs: Tensor, split: Split, train: Split) -> dict[str, float | None]:
    """`balanced_error`, the mean over classes of the share of a class that is predicted wrong (1 - the mean recall), and
    `head_error`, `middle_error`, `tail_error`, the same over thirds of the classes by their size in training.

    Nothing where all classes are of about one size, in training and here, and of values. Classes without a sample in
    `split` are left out. `outputs` `(N, K)` are those of its samples.
    """
    if word_of(split.y) == "values":
        return {}
    y, trained = split.y.cpu(), train.y.cpu().bincount(minlength=outputs.shape[1])
    counts = y.bincount(minlength=len(trained))
    if not lopsided(trained) and not lopsided(counts):
        return {}
    wrong = y[outputs.cpu().argmax(1) != y].bincount(minlength=len(trained))
    errors = wrong.double() / counts  # of a class without a sample: NaN
    groups = {"balanced": counts.nonzero().squeeze(1)} | thirds(trained)
    means = {f"{name}_error": errors[classes].nanmean().item() for name, classes in groups.items()}
    return {name: mean for name, mean in means.items() if mean == mean}
