"""Decoupled weight decay."""

from __future__ import annotations

import torch
from torch import nn

from dlreg.reg.penalties import WeightPenalty


class WeightDecay(WeightPenalty):
    """$$w <- (1 - lr alpha) w$$ once per update, beside the gradient and not through it.

    Loshchilov & Hutter (2019), eq. 1 and Algorithm 2, https://arxiv.org/abs/1711.05101. With SGD it equals `l2`; with an
    adaptive optimizer it does not, because there the gradient of `l2` is divided by the adaptive rate. It acts just
    before the step, so that `optimizer=adam reg=weight_decay` is exactly AdamW. Nothing is added to the loss.
    """

    def setup(self, model: nn.Module) -> nn.Module:
        """Nothing decayed yet."""
        self.state["step"] = -1
        return super().setup(model)

    @torch.no_grad()
    def gradient(self, model: nn.Module) -> None:
        """Decay, once per update however often the optimizer evaluates the loss."""
        step, terms = self.context.progress.step, self.terms(model)
        if terms and step != self.state["step"]:
            torch._foreach_mul_([p for _, _, p in terms], [1 - self.context.lr * a for _, a, _ in terms])
            self.state["step"] = step
