"""Losses of the predicted class probabilities: cross entropy, and what generalizes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlreg.hyper import Fraction, Negative, NonNegative
from dlreg.loss.base import Loss, Reduction


class CrossEntropy(Loss):
    """$$loss = - sum_k y_k log p_k$$.

    Goodfellow et al. (2016), section 6.2.2, https://www.deeplearningbook.org/contents/mlp.html; torch's `cross_entropy`. For
    one-hot y it is the negative logarithm of the probability of the true class.
    """

    @property
    def plain(self) -> bool:
        """Whether this is the cross entropy itself: what generalizes it is, at strength zero."""
        return True

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        return F.cross_entropy(outputs, targets, reduction="none")

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
        """torch's, to the bit, unless something is weighed."""
        if self.plain and self.weights is None:
            return F.cross_entropy(outputs, targets, reduction=reduction)
        return super().__call__(outputs, targets, reduction)

    def with_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """$$d loss / d z_nk = (p_nk sum_j y_nj - y_nk) / N$$, in the steps in which autograd takes it: the same bits."""
        if not self.plain or self.weights is not None:
            return super().with_gradient(outputs, targets)
        log_p = outputs.log_softmax(1)
        gradient = torch.ops.aten._log_softmax_backward_data(targets * (-1 / len(targets)), log_p, 1, outputs.dtype)
        return -(log_p * targets).sum() / len(targets), gradient


class Focal(CrossEntropy):
    """$$loss = - sum_k y_k (1 - p_k)^gamma log p_k$$: samples that are predicted well count little.

    Lin, Goyal, Girshick, He, Dollar (2017), eq. 4, https://arxiv.org/abs/1708.02002, there with one sigmoid per class; here
    with the softmax. The paper's alpha_t is `class_weight`. gamma = 0 is cross entropy.
    """

    def __init__(self, *, gamma: NonNegative) -> None:
        self.gamma = gamma

    @property
    def plain(self) -> bool:
        """At gamma = 0."""
        return self.gamma == 0

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        if self.plain:
            return super().each(outputs, targets)
        log_p = outputs.log_softmax(1)
        # where p has been rounded to 1, the derivative of a root would be infinite
        rest = (-log_p.expm1()).clamp_min(torch.finfo(log_p.dtype).tiny)
        return -(targets * rest**self.gamma * log_p).sum(1)


class GeneralizedCrossEntropy(CrossEntropy):
    """$$loss = sum_k y_k (1 - p_k^q) / q$$: between cross entropy, $q -> 0$, and half the mean absolute error, q = 1.

    Zhang & Sabuncu (2018), https://arxiv.org/abs/1805.07836, their L_q without its truncated form. The larger q, the
    less a wrong label pulls. q = 0 is cross entropy, its limit.
    """

    def __init__(self, *, q: Fraction) -> None:
        self.q = q

    @property
    def plain(self) -> bool:
        """At q = 0."""
        return self.q == 0

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        if self.plain:
            return super().each(outputs, targets)
        return -(targets * (self.q * outputs.log_softmax(1)).expm1()).sum(1) / self.q


class SymmetricCrossEntropy(CrossEntropy):
    """$$loss = - alpha sum_k y_k log p_k - beta sum_k p_k max(log y_k, A)$$: cross entropy both ways.

    Wang, Ma, Chen, Luo, Yi, Bailey (2019), section 3, https://arxiv.org/abs/1908.06112. A is `log_zero`: it stands for log 0,
    and bounds every log y from below, where the authors' code bounds y. alpha = 1, beta = 0 is cross entropy.
    """

    def __init__(self, *, alpha: NonNegative, beta: NonNegative, log_zero: Negative) -> None:
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero

    @property
    def plain(self) -> bool:
        """At alpha = 1 and beta = 0."""
        return self.alpha == 1 and self.beta == 0

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N,)`."""
        forward = super().each(outputs, targets)
        reverse = -(outputs.softmax(1) * targets.log().clamp_min(self.log_zero)).sum(1)
        return self.alpha * forward + self.beta * reverse
