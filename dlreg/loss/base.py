"""What losses share: a number per sample, weighed by the sample's class, averaged; and the weights of classes."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dlreg.hyper import Decay

Reduction = Literal["mean", "sum", "none"]


class Loss:
    """A subclass writes `each`; with `weights` $w$, one per class, sample n counts $sum_c w_c y_nc$ times.

    The mean is over the samples, whatever they weigh: torch's own divides by their weights, so that in a batch of one class
    these would cancel out.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classes",)  # what it can be trained on
    squares: ClassVar[bool] = False  # it is the mean of squared errors
    softmax: bool = True  # the outputs are logits, their softmax is the prediction
    weights: Tensor | None = None

    def begin(self, task: str, weights: Tensor | None) -> None:
        """Called by the fit: what the data set is of, and the weights of its classes, if any."""
        self.task, self.weights = task, weights

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs and targets `(N, K)` -> the losses of the samples, `(N,)`."""
        raise NotImplementedError

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Mean or sum over samples, or each of them. Targets are `(N, K)`, or whole numbers `(N,)` that name classes."""
        if not targets.is_floating_point():
            targets = F.one_hot(targets, outputs.shape[1]).to(outputs.dtype)
        losses = self.each(outputs, targets)
        if self.weights is not None:
            losses = losses * (targets @ self.weights.to(targets.dtype))
        return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()

    def with_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss, and its gradient at the outputs `(N, K)`."""
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            loss = self(outputs, targets)
        return loss.detach(), torch.autograd.grad(loss, outputs)[0]


def class_weights(
    counts: Tensor, *, class_weight: Literal["none", "inverse", "balanced"], class_beta: Decay
) -> Tensor | None:
    """Weights `(K,)` from the counts of training samples per class; None where all are equal.

    inverse: $w_c = 1 / n_c$; balanced: $w_c = (1 - b) / (1 - b^(n_c))$ with b = `class_beta`, the inverse of the effective
    number of samples (Cui, Jia, Lin, Song, Belongie 2019, https://arxiv.org/abs/1901.05555). Both are scaled to sum to the
    number of classes, as in the paper; a class without samples has weight 0. b = 0 is none, b -> 1 is inverse.
    """
    n = counts.double()
    if class_weight == "none":
        return None
    raw = 1 / n if class_weight == "inverse" else (1 - class_beta) / (1 - class_beta**n)
    raw = torch.where(n > 0, raw, 0.0)
    weights = raw * (n > 0).sum() / raw.sum()
    return None if bool(weights[n > 0].eq(1).all()) else weights
