"""Classes of different sizes: a training set made long-tailed on purpose, and what thirds of its classes are then called."""

from __future__ import annotations

import torch
from torch import Tensor

from dlreg.errors import UserError

LOPSIDED = 2  # the largest class has at least so many times the samples of the smallest
THIRDS = ("head", "middle", "tail")


def long_tail(labels: Tensor, classes: int, ratio: float) -> Tensor:
    """The places of the samples that stay: of class c the first $n_c = int(n_max ratio^(c / (C - 1)))$, n_max = N / C.

    Cui, Jia, Lin, Song, Belongie (2019), section 4.1, https://arxiv.org/abs/1901.05555, with the rounding of the CIFAR-LT that
    followed. A class that has fewer keeps what it has; `ratio` is that of the last class to the first.

    Raises:
        UserError: a class would be left without a sample.
    """
    largest = len(labels) / classes
    sizes = [int(largest * ratio ** (c / max(classes - 1, 1))) for c in range(classes)]
    members = [(labels == c).nonzero().squeeze(1)[:size] for c, size in enumerate(sizes)]
    if any(len(places) == 0 for places in members):
        raise UserError(
            f"data.imbalance={ratio} leaves no sample of the rarest of {classes} classes, of {len(labels)} in all; "
            f"allowed: {classes / len(labels):.2g} to 1, and samples of every class"
        )
    return torch.cat(members)


def thirds(counts: Tensor) -> dict[str, Tensor]:
    """head, middle, tail -> its classes, by how many training samples they have; none where all have about as many.

    Classes of the same size stay in their order; where three does not divide their number, the head is the larger part.
    """
    if not lopsided(counts):
        return {}
    order = counts.argsort(descending=True, stable=True)
    parts = zip(THIRDS, order.tensor_split(len(THIRDS)), strict=True)
    return {name: classes for name, classes in parts if len(classes)}


def lopsided(counts: Tensor) -> bool:
    """Whether the numbers of samples per class `(K,)` differ enough to be spoken of."""
    return bool(counts.max() >= LOPSIDED * counts.min())
