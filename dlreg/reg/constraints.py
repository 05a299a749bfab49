"""Constraints on all the weights together: ||w|| <= c, by projection or by an adapted multiplier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import NonNegative, Positive
from dlreg.model.blocks import weights
from dlreg.reg.base import Regularizer
from dlreg.reg.maxnorm import MaxNorm
from dlreg.reg.penalties import half_squares


class NormBall(MaxNorm):
    """After each update, the weights of all layers together are projected onto the ball: $$w <- w min(1, c / ||w||)$$.

    Goodfellow et al. (2016), section 7.2 (explicit constraints by reprojection),
    https://www.deeplearningbook.org/contents/regularization.html. Biases and normalization parameters are left out.
    """

    measured = "the norm of all weights was at most"

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """One factor for all weights, exactly 1 inside the ball."""
        ws = list(weights(model))
        norm = torch.stack(torch._foreach_norm(ws)).norm()
        self.state["longest"] = torch.maximum(self.state["longest"], norm)
        torch._foreach_mul_(ws, self.c / norm.clamp_min(self.c))


class Lagrangian(Regularizer):
    """$$min over w, max over m >= 0 of loss + m (||w||^2 - c^2) / 2$$, with
    $$m <- max(0, m + rate (||w||^2 - c^2) / 2)$$ per step.

    Goodfellow et al. (2016), eq. 7.25-7.28, https://www.deeplearningbook.org/contents/regularization.html; the multiplier's
    ascent: Platt & Barr (1987), Constrained differential optimization. With $Omega(w) =
    ||w||^2 / 2$ the multiplier is the alpha of `l2`: where it settles, this is L2 with the alpha that makes $||w|| = c$. Before
    it settles the constraint may be violated. Biases and normalization parameters are left out.
    """

    turn = 2

    def __init__(self, *, c: Positive, rate: NonNegative) -> None:
        self.c, self.rate = c, rate

    def setup(self, model: nn.Module) -> nn.Module:
        """The multiplier starts at 0."""
        self.state["multiplier"] = torch.zeros((), device=self.context.device, dtype=next(weights(model)).dtype)
        return model

    def remark(self) -> str | None:
        """When the constraint did not bind."""
        return None if float(self.state["multiplier"]) else f"{self.name} ended with multiplier 0: ||w|| was below c"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """m (||w||^2 - c^2) / 2."""
        return self.state["multiplier"] * (half_squares([(1.0, w) for w in weights(model)]) - self.c**2 / 2)

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Gradient ascent in the multiplier."""
        excess = (torch.stack(torch._foreach_norm(list(weights(model)))).square().sum() - self.c**2) / 2
        self.state["multiplier"] = (self.state["multiplier"] + self.rate * excess).clamp_min(0)
