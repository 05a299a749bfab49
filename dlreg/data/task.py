"""What a data set asks for: the class of a sample, or values. Everything in the loop that depends on it stands here."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

Word = Literal["classes", "values"]


class Task:
    """Targets `(N, K)` of a loss from what a split holds, and what is counted of the outputs over an epoch."""

    word: ClassVar[Word]
    figure: ClassVar[str]  # the name of the mean of what is counted

    def targets(self, y: Tensor) -> Tensor:
        """Labels or values as a split holds them -> `(N, K)`."""
        raise NotImplementedError

    @staticmethod
    def missed(outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs and targets `(N, K)` -> how far they are off, summed over the samples; 0 is perfect."""
        raise NotImplementedError


class Classes(Task):
    """Targets are class probabilities, one-hot at first. Counted are the samples whose largest output is another class."""

    word, figure = "classes", "error"

    def __init__(self, classes: int, device: torch.device, dtype: torch.dtype | None) -> None:
        self.one_hot = torch.eye(classes, device=device, dtype=dtype)

    def targets(self, y: Tensor) -> Tensor:
        """`(N,)` -> `(N, K)`."""
        return self.one_hot[y]

    @staticmethod
    def missed(outputs: Tensor, targets: Tensor) -> Tensor:
        """The number of errors."""
        return (outputs.argmax(1) != targets.argmax(1)).sum()


class Values(Task):
    """Targets are the values themselves, `(N, K)`. Counted are the squared errors, each the mean over the K values."""

    word, figure = "values", "mse"

    def targets(self, y: Tensor) -> Tensor:
        """The same."""
        return y

    @staticmethod
    def missed(outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of squared errors."""
        return (outputs - targets).square().mean(1).sum()


def word_of(y: Tensor) -> Word:
    """Whole numbers name classes; floats are values."""
    return "values" if y.is_floating_point() else "classes"
