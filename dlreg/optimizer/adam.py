"""Adam and its relatives."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.hyper import Betas, NonNegative, Positive
from dlreg.optimizer.base import Rule
from dlreg.optimizer.kernels import fused


def adam(params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive, bias_correction: bool) -> Optimizer:
    """$$m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - lr m' / (sqrt(v') + eps)$$.

    Kingma & Ba (2015), Algorithm 1, https://arxiv.org/abs/1412.6980. $m' = m / (1 - b1^t)$ and $v' = v / (1 - b2^t)$ undo the
    bias of starting at zero. bias_correction=false is the form that lectures print without it: $m' = m$, $v' = v$, whose first
    steps are $(1 - b1) / sqrt(1 - b2)$ times as long.
    """
    if not bias_correction:
        return Uncorrected(params, lr=lr, betas=_pair(betas), eps=eps)
    return optim.Adam(params, lr=lr, betas=_pair(betas), eps=eps, fused=fused(params))


def amsgrad(params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive, bias_correction: bool) -> Optimizer:
    """Adam with the largest v so far in the denominator, so that no step size ever grows.

    Reddi, Kale, Kumar (2018), Algorithm 2, https://arxiv.org/abs/1904.09237. torch corrects the bias; the paper does not,
    nor do lectures: bias_correction=false is theirs, $$w <- w - lr m / (sqrt(max v) + eps)$$.
    """
    if not bias_correction:
        return UncorrectedMax(params, lr=lr, betas=_pair(betas), eps=eps)
    return optim.Adam(params, lr=lr, betas=_pair(betas), eps=eps, amsgrad=True, fused=fused(params))


class Uncorrected(Rule):
    """Adam as printed without bias correction."""

    keeps: ClassVar[tuple[str, ...]] = ("mean", "square")

    def update(self, w: list[Tensor], g: list[Tensor], *kept: list[Tensor], group: dict[str, Any]) -> None:
        """w <- w - lr m / (sqrt(v) + eps)."""
        m, v, *largest = kept
        b1, b2 = group["betas"]
        torch._foreach_lerp_(m, g, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, g, g, 1 - b2)
        if largest:
            torch._foreach_maximum_(largest[0], v)
        root = torch._foreach_sqrt(largest[0] if largest else v)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(w, m, root, -group["lr"])

    def stride(self, p: Parameter, group: dict[str, Any]) -> Tensor:
        """lr / (sqrt(v) + eps), with the largest v where that is kept."""
        return group["lr"] / (self.state[p][self.keeps[-1]].sqrt() + group["eps"])


class UncorrectedMax(Uncorrected):
    """AMSGrad as printed: the denominator never shrinks."""

    keeps = ("mean", "square", "largest")


def adamax(params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """$$u <- max(b2 u, |g| + eps); w <- w - lr m / ((1 - b1^t) u)$$: Adam with the infinity norm.

    Kingma & Ba (2015), Algorithm 2, https://arxiv.org/abs/1412.6980
    """
    return optim.Adamax(params, lr=lr, betas=_pair(betas), eps=eps)


def nadam(
    params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive, momentum_decay: NonNegative
) -> Optimizer:
    """Adam with Nesterov's look-ahead in the first moment:
    $$m' = mu_(t+1) m / (1 - prod_(i <= t+1) mu_i) + (1 - mu_t) g / (1 - prod_(i <= t) mu_i);
    w <- w - lr m' / (sqrt(v') + eps)$$.

    Dozat (2016), https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ, with $mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)$.
    """
    return optim.NAdam(params, lr=lr, betas=_pair(betas), eps=eps, momentum_decay=momentum_decay)


def adamw(
    params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive, weight_decay: NonNegative
) -> Optimizer:
    """$$w <- (1 - lr weight_decay) w$$, then Adam's step: the decay does not pass through the adaptive rates.

    Loshchilov & Hutter (2019), Algorithm 2, https://arxiv.org/abs/1711.05101. Weights decay, biases do not.
    """
    return optim.AdamW(decay_groups(params, weight_decay), lr=lr, betas=_pair(betas), eps=eps, fused=fused(params))


def lion(params: list[Parameter], *, lr: Positive, betas: Betas, weight_decay: NonNegative) -> Optimizer:
    """$$w <- w - lr (sign(b1 m + (1 - b1) g) + weight_decay w); m <- b2 m + (1 - b2) g$$.

    Chen et al. (2023), Algorithm 2, https://arxiv.org/abs/2302.06675, who advise a rate 3 to 10 times smaller, and a decay
    as much larger, than AdamW's. Weights decay, biases do not.
    """
    return Lion(decay_groups(params, weight_decay), lr=lr, betas=_pair(betas))


class Lion(Rule):
    """The sign of an interpolated momentum: every weight moves by lr."""

    keeps = ("mean",)

    def update(self, w: list[Tensor], g: list[Tensor], *kept: list[Tensor], group: dict[str, Any]) -> None:
        """The direction mixes with b1, the memory with b2."""
        (m,) = kept
        b1, b2 = group["betas"]
        direction = torch._foreach_lerp(m, g, 1 - b1)
        torch._foreach_sign_(direction)
        torch._foreach_mul_(w, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(w, direction, alpha=-group["lr"])
        torch._foreach_lerp_(m, g, 1 - b2)


def decay_groups(params: list[Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Weights, which decay, and what has one dimension, which does not."""
    decayed = {"params": [p for p in params if p.dim() > 1], "weight_decay": weight_decay}
    rest = {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0}
    return [group for group in (decayed, rest) if group["params"]]


def _pair(betas: list[float]) -> tuple[float, float]:
    return betas[0], betas[1]
