"""Sharpness-aware minimization."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import Parameter

from dlreg.errors import UserError
from dlreg.hyper import NonNegative
from dlreg.optimizer.base import Closure, Composite, dense, evaluate


class SAM(Composite):
    """The base optimizer's step at w with the gradient taken at $$w + rho g / |g|$$, the worst point nearby.

    Foret et al. (2021), Algorithm 1, https://arxiv.org/abs/2010.01412, the norm over all weights together. Two passes a
    step; the running moments of batch norm see the first alone. The base is an optimizer like any other:
    `optimizer@optimizer.base=adam optimizer.base.lr=0.001`; the schedule acts on its lr.
    """

    def __init__(self, params: list[Parameter], *, rho: NonNegative, base: Callable) -> None:
        inner = base(params)
        if (
            isinstance(inner, SAM)
            or getattr(inner, "order", 1) != 1
            or getattr(inner, "full_batch", False)
            or hasattr(inner, "whole")
        ):
            raise UserError(f"optimizer.base: {type(inner).__name__} calls for passes of its own; SAM has its two")
        super().__init__([inner])
        self.rho = rho

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """Ascend, take the gradient there, go back, descend; returns the loss at w."""
        loss = evaluate(closure)
        w = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        g = dense(self, w)
        here = [p.clone() for p in w]
        length = torch.stack(torch._foreach_norm(g)).norm()
        torch._foreach_add_(w, torch._foreach_mul(g, self.rho / (length + 1e-12)))
        evaluate(closure)
        torch._foreach_copy_(w, here)
        self.parts[0].step()
        return loss

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "rho": self.rho}
