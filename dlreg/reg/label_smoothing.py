"""Label smoothing."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from dlreg.hyper import Fraction
from dlreg.reg.base import Regularizer


class LabelSmoothing(Regularizer):
    """Targets give eps of their mass away: $$y <- (1 - eps) y + eps u$$.

    Szegedy et al. (2016), section 7, https://arxiv.org/abs/1512.00567. `form=torch`: $u = 1/K$ on all classes, the paper's and
    torch's. `form=lecture`: $u = (1 - y) / (K - 1)$, eps shared among the *other* classes (Goodfellow et al. 2016, 7.5.1);
    eps there is $eps K / (K - 1)$ here.
    """

    needs_classes = True

    def __init__(self, *, eps: Fraction, form: Literal["torch", "lecture"]) -> None:
        self.eps, self.form = eps, form

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Smooth the targets."""
        if not self.eps:
            return x, y
        classes = y.shape[1]
        if self.form == "torch":
            return x, y * (1 - self.eps) + self.eps / classes
        return x, y * (1 - self.eps) + (1 - y) * (self.eps / (classes - 1))
