"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.hyper import Decay, Positive
from dlreg.optimizer.base import Rule
from dlreg.optimizer.kernels import at_rest, fused


def sgd(params: list[Parameter], *, lr: Positive) -> Optimizer:
    """$$w <- w - lr g$$. Robbins & Monro (1951), https://doi.org/10.1214/aoms/1177729586

    With `batch_size=full` this is gradient descent.
    """
    return optim.SGD(params, lr=lr, fused=fused(params))


def momentum(params: list[Parameter], *, lr: Positive, momentum: Decay, form: Literal["torch", "lecture"]) -> Optimizer:
    """$$v <- momentum v + g; w <- w - lr v$$. Polyak (1964), https://doi.org/10.1016/0041-5553(64)90137-5

    form=lecture has lr inside the velocity: $v <- momentum v + lr g$; $w <- w - v$. The two are the same while lr is constant;
    when lr falls, the velocity gathered at the old rate lives on.
    """
    if form == "lecture":
        return Velocity(params, lr=lr, momentum=momentum, nesterov=False)
    return at_rest(optim.SGD(params, lr=lr, momentum=momentum, fused=fused(params)))


def nesterov(params: list[Parameter], *, lr: Positive, momentum: Decay, form: Literal["torch", "lecture"]) -> Optimizer:
    """$$v <- momentum v + g; w <- w - lr (g + momentum v)$$.

    Nesterov (1983) in the form of Sutskever et al. (2013), eq. 3 and 4, https://proceedings.mlr.press/v28/sutskever13.html,
    written for the point w at which the gradient is taken. form=lecture has lr inside the velocity, as the paper does:
    $v <- momentum v + lr g$; $w <- w - (lr g + momentum v)$. The two are the same while lr is constant.
    """
    if form == "lecture":
        return Velocity(params, lr=lr, momentum=momentum, nesterov=True)
    return at_rest(optim.SGD(params, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused(params)))


class Velocity(Rule):
    """Momentum whose velocity is a step: v <- momentum v + lr g."""

    keeps = ("velocity",)

    def update(self, w: list[Tensor], g: list[Tensor], *kept: list[Tensor], group: dict[str, Any]) -> None:
        """w <- w - v, or with Nesterov's look-ahead w - (lr g + momentum v)."""
        (v,) = kept
        torch._foreach_mul_(v, group["momentum"])
        torch._foreach_add_(v, g, alpha=group["lr"])
        if group["nesterov"]:
            torch._foreach_add_(w, g, alpha=-group["lr"])
            torch._foreach_add_(w, v, alpha=-group["momentum"])
        else:
            torch._foreach_sub_(w, v)

    def stride(self, p: Parameter, group: dict[str, Any]) -> float:
        """lr / (1 - momentum)."""
        return float(group["lr"] / (1 - group["momentum"]))
