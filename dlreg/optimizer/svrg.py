"""Variance reduction by a gradient over the whole training set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from dlreg.hyper import Count, Positive
from dlreg.optimizer.base import Closure, ClosureRule, dense, evaluate


class SVRG(ClosureRule):
    """$$w <- w - lr (g_B(w) - g_B(s) + G(s))$$: the batch's gradient, corrected by its error at a snapshot s of the weights.

    Johnson & Zhang (2013), https://papers.nips.cc/paper/2013/hash/ac1dd209cbcc5e5d1c6e28598e8cbbe8-Abstract.html. Every m
    steps $s <- w$ (their option I) and $G(s)$ is computed over the whole training set. The noise vanishes as w nears s, so a
    constant lr converges. Costs two passes a step and 1/m of an epoch's. Dropout and augmentation draw anew in each pass:
    what they add is not corrected.
    """

    whole: Callable[[], None] | None = None  # the fit puts here what leaves G in `p.grad`; None: the closure does

    def __init__(self, params: list[Parameter], *, lr: Positive, m: Count) -> None:
        super().__init__(params, lr=lr, m=m)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """One corrected step, after a new snapshot if it is time."""
        group, w = self.settings, self.weights
        if group["steps"] % group["m"] == 0:
            self._take_snapshot(closure)
        group["steps"] += 1
        snapshot, full = ([self.state[p][name] for p in w] for name in ("snapshot", "full"))
        loss = evaluate(closure)
        gradient = [g.clone() for g in dense(self, w)]
        here = [p.clone() for p in w]
        torch._foreach_copy_(w, snapshot)
        evaluate(closure)
        torch._foreach_sub_(gradient, dense(self, w))
        torch._foreach_add_(gradient, full)
        torch._foreach_copy_(w, here)
        torch._foreach_mul_(gradient, self.rates)
        torch._foreach_sub_(w, gradient)
        return loss

    def stride(self, p: Tensor, group: dict[str, Any]) -> float:
        """lr."""
        return float(group["lr"])

    def _take_snapshot(self, closure: Closure) -> None:
        if self.whole is None:
            evaluate(closure)
        else:
            with torch.enable_grad():
                self.whole()
        for p, g in zip(self.weights, dense(self, self.weights), strict=True):
            self.state[p] = {"snapshot": p.detach().clone(), "full": g.clone()}
