"""Max-norm constraint."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from dlreg.hyper import Positive
from dlreg.model.blocks import Acting, weight_layers, weights
from dlreg.reg.base import Regularizer


class Constraint(Regularizer):
    """A bound on weights."""

    _weights: list[Acting] | None = None

    def weights(self, model: nn.Module) -> list[Acting]:
        """What is bounded. The parameters of a fit never change identity."""
        if self._weights is None:
            self._weights = weights(model)
        return self._weights


class MaxNorm(Constraint):
    """After each update, every unit's incoming weight vector w is projected to $||w|| <= c$: $$w <- w min(1, c / ||w||)$$.

    Srebro, Rennie, Jaakkola (2004); Srivastava et al. (2014), section 5.1, https://jmlr.org/papers/v15/srivastava14a.html.
    `c` is a length (2 to 4 there; Hinton et al. 2012 print the squared length, 15). A unit's vector is one row of a
    linear weight, or one output channel's kernel; biases are left out.
    """

    rank = 1
    measured: ClassVar[str] = "the longest weight vector was"

    def __init__(self, *, c: Positive) -> None:
        self.c = c

    def setup(self, model: nn.Module) -> nn.Module:
        """Nothing measured yet."""
        self.state["longest"] = torch.zeros((), device=self.context.device)
        self._vain = sum(getattr(layer, "length_cancels", False) for layer in weight_layers(model))
        return model

    def remark(self) -> str | None:
        """When nothing ever reached the ball's surface, or when lengths do not matter."""
        longest = float(self.state["longest"])
        if longest <= self.c:
            return f"{self.name} never acted: {self.measured} {longest:.3g}"
        text = f"{self.name} bounds the lengths of {self._vain} layers of weights that norm=cosine divides by their lengths"
        return text if self._vain else None

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Rescale the rows that are too long."""
        ws = self.weights(model)
        norms = [torch.linalg.vector_norm(w.value.flatten(1), dim=1) for w in ws]
        longest = torch.cat(norms).max()
        self.state["longest"] = torch.maximum(self.state["longest"], longest)
        # c / max(norm, c) is exactly 1 for a row inside the ball: such a row keeps its bits.
        torch._foreach_clamp_min_(norms, self.c)
        torch._foreach_reciprocal_(norms)
        torch._foreach_mul_(norms, self.c)
        rows = [n.view(-1, *[1] * (w.parameter.dim() - 1)) for n, w in zip(norms, ws, strict=True)]
        torch._foreach_mul_([w.parameter for w in ws], rows)
