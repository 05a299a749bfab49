"""Optimizers with one learning rate per weight, before Adam."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.hyper import Decay, Positive
from dlreg.optimizer.base import Rule
from dlreg.optimizer.kernels import fused


def adagrad(params: list[Parameter], *, lr: Positive, eps: Positive, form: Literal["torch", "lecture"]) -> Optimizer:
    """$$r <- r + g^2; w <- w - lr g / (sqrt(r) + eps)$$. Duchi, Hazan, Singer (2011), https://jmlr.org/papers/v12/duchi11a.html

    form=lecture has eps inside the root: $g / sqrt(r + eps)$.
    """
    if form == "lecture":
        return InsideRoot(params, lr=lr, past=1.0, new=1.0, eps=eps, momentum=0.0)
    return optim.Adagrad(params, lr=lr, eps=eps, fused=fused(params))


def adadelta(params: list[Parameter], *, lr: Positive, rho: Decay, eps: Positive) -> Optimizer:
    """$$r <- rho r + (1 - rho) g^2; d = g sqrt(s + eps) / sqrt(r + eps); s <- rho s + (1 - rho) d^2; w <- w - lr d$$.

    Zeiler (2012), Algorithm 1, https://arxiv.org/abs/1212.5701 (there lr = 1). eps stands inside both roots. What some
    lectures print under this name, with no s, is `optimizer=rmsprop optimizer.form=lecture`.
    """
    return optim.Adadelta(params, lr=lr, rho=rho, eps=eps)


def rmsprop(
    params: list[Parameter],
    *,
    lr: Positive,
    alpha: Decay,
    eps: Positive,
    momentum: Decay,
    form: Literal["torch", "lecture"],
) -> Optimizer:
    """$$r <- alpha r + (1 - alpha) g^2; w <- w - lr g / (sqrt(r) + eps)$$, the fraction through momentum if there is any.

    Hinton (2012), lecture 6e, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf. form=lecture has
    eps inside the root: $g / sqrt(r + eps)$.
    """
    if form == "lecture":
        return InsideRoot(params, lr=lr, past=alpha, new=1 - alpha, eps=eps, momentum=momentum)
    return optim.RMSprop(params, lr=lr, alpha=alpha, eps=eps, momentum=momentum)


class InsideRoot(Rule):
    """r <- past r + new g^2; v <- momentum v + g / sqrt(r + eps); w <- w - lr v."""

    keeps = ("square", "velocity")

    def update(self, w: list[Tensor], g: list[Tensor], *kept: list[Tensor], group: dict[str, Any]) -> None:
        """One step of AdaGrad (past = new = 1) or RMSProp."""
        r, v = kept
        torch._foreach_mul_(r, group["past"])
        torch._foreach_addcmul_(r, g, g, group["new"])
        root = torch._foreach_add(r, group["eps"])
        torch._foreach_sqrt_(root)
        torch._foreach_mul_(v, group["momentum"])
        torch._foreach_addcdiv_(v, g, root)
        torch._foreach_add_(w, v, alpha=-group["lr"])

    def stride(self, p: Parameter, group: dict[str, Any]) -> Tensor:
        """lr / ((1 - momentum) sqrt(r + eps))."""
        root = (self.state[p]["square"] + group["eps"]).sqrt()
        return group["lr"] / ((1 - group["momentum"]) * root)
