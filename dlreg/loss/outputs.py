"""Losses of the outputs themselves, without a softmax over them, and the mean absolute error, which is of both kinds."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dlreg.loss.base import Loss


class MSE(Loss):
    """$$loss = 1/K sum_k (z_k - y_k)^2$$: on values, or on one-hot targets, whose class is then the largest output.

    Bishop (2006), sections 3.1 and 4.1.3,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/; torch's `mse_loss`: the mean
    over the K outputs and over the samples, without a factor 1/2. Where a text adds $lambda ||w||^2$ to the *sum* of
    squares over n samples, `reg.l2.alpha` is $2 lambda / (n K)$.
    """

    tasks = ("classes", "values")
    softmax = False

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        return (outputs - targets).square().mean(1)


class BCE(Loss):
    """$$loss = - 1/K sum_k (y_k log s_k + (1 - y_k) log(1 - s_k))$$ with $s = sigmoid(z)$: each class against the rest.

    Bishop (2006), section 4.3.2,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/; torch's
    `binary_cross_entropy_with_logits`: the mean over the K outputs, where papers often write their sum.
    """

    softmax = False

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(1)


class MAE(Loss):
    """$$loss = sum_k |f_k - y_k|$$ with $f = p$, the softmax, for classes and $f = z$, the outputs, for values.

    Ghosh, Kumar, Sastry (2017), https://arxiv.org/abs/1712.09482: on one-hot targets it is $2 - 2 p_y$, and
    symmetric label noise leaves its minimizer where it is. Of values it estimates the median.
    """

    tasks = ("classes", "values")

    @property
    def softmax(self) -> bool:  # type: ignore[override]
        """Of classes only."""
        return self.task == "classes"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        predicted = outputs.softmax(1) if self.softmax else outputs
        return (predicted - targets).abs().sum(1)
