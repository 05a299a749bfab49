"""Constraints on all the weights together: ||w|| <= c, by projection or by an adapted multiplier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import NonNegative, Positive
from dlreg.model.blocks import weights
from dlreg.reg.maxnorm import Constraint, MaxNorm
from dlreg.reg.penalties import half_squares

VIOLATED = 1.01  # times c: a violation worth a remark


class NormBall(MaxNorm):
    """After each update, the weights of all layers together are projected onto the ball: $$w <- w min(1, c / ||w||)$$.

    Goodfellow et al. (2016), section 7.2 (explicit constraints by reprojection),
    https://www.deeplearningbook.org/contents/regularization.html. Biases and normalization parameters are left out.
    """

    measured = "the norm of all weights was at most"

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """One factor for all weights, exactly 1 inside the ball."""
        ws = self.weights(model)
        norm = torch.stack(torch._foreach_norm([w.value for w in ws])).norm()
        self.state["longest"] = torch.maximum(self.state["longest"], norm)
        torch._foreach_mul_([w.parameter for w in ws], self.c / norm.clamp_min(self.c))


class Lagrangian(Constraint):
    """$$min over w, max over m >= 0 of loss + m (||w||^2 - c^2) / 2$$, with
    $$m <- max(0, m + rate (||w||^2 - c^2) / 2)$$ per step.

    Goodfellow et al. (2016), eq. 7.25-7.28, https://www.deeplearningbook.org/contents/regularization.html; the multiplier's
    ascent: Platt & Barr (1987), Constrained differential optimization. With $Omega(w) =
    ||w||^2 / 2$ the multiplier is the alpha of `l2`: where it settles, this is L2 with the alpha that makes $||w|| = c$. Before
    it settles the constraint may be violated; a remark says if it is at the end. A small rate brings $||w||$ to c late (in the
    order of $1 / (c sqrt(lr rate))$ updates), a large one below c before it settles, as the multiplier has to come down again.
    Biases and normalization parameters are left out.
    """

    rank = 2

    def __init__(self, *, c: Positive, rate: NonNegative) -> None:
        self.c, self.rate = c, rate

    def setup(self, model: nn.Module) -> nn.Module:
        """The multiplier starts at 0."""
        zero = torch.zeros((), device=self.context.device, dtype=weights(model)[0].parameter.dtype)
        self.state.update(multiplier=zero, norm=zero)
        return model

    def remark(self) -> str | None:
        """When the constraint did not bind, or was not met."""
        multiplier, norm = float(self.state["multiplier"]), float(self.state["norm"])
        if norm > VIOLATED * self.c:
            return (
                f"{self.name} ended with ||w|| = {norm:.4g}, above c = {self.c:g}: give it a larger rate or more steps"
            )
        return None if multiplier else f"{self.name} ended with multiplier 0: ||w|| = {norm:.4g} was below c"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """m (||w||^2 - c^2) / 2."""
        return self.state["multiplier"] * (half_squares([(1.0, w.value) for w in self.weights(model)]) - self.c**2 / 2)

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Gradient ascent in the multiplier."""
        self.state["norm"] = torch.stack(torch._foreach_norm([w.value for w in self.weights(model)])).norm()
        excess = (self.state["norm"].square() - self.c**2) / 2
        self.state["multiplier"] = (self.state["multiplier"] + self.rate * excess).clamp_min(0)
