"""Decoupled weight decay."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.reg.penalties import WeightPenalty


class WeightDecay(WeightPenalty):
    """$$w <- w' - lr alpha w$$ once per update, w' the optimizer's weights, w those before it: not through the gradient.

    Loshchilov & Hutter (2019), eq. 1 and Algorithm 2, https://arxiv.org/abs/1711.05101. With SGD it equals `l2`; with an
    adaptive optimizer it does not, because there the gradient of `l2` is divided by the adaptive rate; `optimizer=adam
    reg=weight_decay` is AdamW. The optimizer's passes, however many, see weights that are not decayed yet, so any optimizer
    will do, also one without gradients. Nothing is added to the loss.
    """

    revision = 2

    def remark(self) -> str | None:
        """When there is nothing to decay, or when another decays already."""
        own = self.context.optimizer_decay
        return super().remark() or (f"{self.name} acts on top of the optimizer's weight_decay={own:g}" if own else None)

    @torch.no_grad()
    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Remember the weights before the update."""
        self._before = [w.parameter.clone() for _, w in self.terms(model)]
        return x, y

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Decay what they were."""
        if terms := self.terms(model):
            decays = torch._foreach_mul(self._before, [self.context.lr * a for a, _ in terms])
            torch._foreach_sub_([w.parameter for _, w in terms], decays)
