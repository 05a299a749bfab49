"""Adam and its relatives."""

from __future__ import annotations

from torch import optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.hyper import Betas, NonNegative, Positive
from dlreg.optimizer.kernels import fused


def adam(params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - lr m' / (sqrt(v') + eps).

    Kingma & Ba (2015), Algorithm 1, https://arxiv.org/abs/1412.6980. m' = m / (1 - b1^t) and v' = v / (1 - b2^t) undo the
    bias of starting at zero.
    """
    return optim.Adam(params, lr=lr, betas=_pair(betas), eps=eps, fused=fused(params))


def amsgrad(params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """Adam with the largest v so far in the denominator, so that no step size ever grows.

    Reddi, Kale, Kumar (2018), Algorithm 2, https://arxiv.org/abs/1904.09237. Bias-corrected, as torch does it; the paper
    does not correct.
    """
    return optim.Adam(params, lr=lr, betas=_pair(betas), eps=eps, amsgrad=True, fused=fused(params))


def adamax(params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """u <- max(b2 u, |g| + eps); w <- w - lr m / ((1 - b1^t) u): Adam with the infinity norm.

    Kingma & Ba (2015), Algorithm 2, https://arxiv.org/abs/1412.6980
    """
    return optim.Adamax(params, lr=lr, betas=_pair(betas), eps=eps)


def nadam(
    params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive, momentum_decay: NonNegative
) -> Optimizer:
    """Adam with Nesterov's look-ahead in the first moment.

    Dozat (2016), https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ, with mu_t = b1 (1 - 0.96^(t momentum_decay) / 2).
    """
    return optim.NAdam(params, lr=lr, betas=_pair(betas), eps=eps, momentum_decay=momentum_decay)


def adamw(
    params: list[Parameter], *, lr: Positive, betas: Betas, eps: Positive, weight_decay: NonNegative
) -> Optimizer:
    """w <- (1 - lr weight_decay) w, then Adam's step: the decay does not pass through the adaptive rates.

    Loshchilov & Hutter (2019), Algorithm 2, https://arxiv.org/abs/1711.05101. Weights decay, biases do not.
    """
    decayed = [p for p in params if p.dim() > 1]
    rest = [p for p in params if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=_pair(betas), eps=eps, fused=fused(params))


def _pair(betas: list[float]) -> tuple[float, float]:
    return betas[0], betas[1]
