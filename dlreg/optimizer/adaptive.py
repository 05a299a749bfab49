"""Optimizers with one learning rate per weight, before Adam."""

from __future__ import annotations

from torch import optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.hyper import Decay, Positive
from dlreg.optimizer.kernels import fused


def adagrad(params: list[Parameter], *, lr: Positive, eps: Positive) -> Optimizer:
    """r <- r + g^2; w <- w - lr g / (sqrt(r) + eps). Duchi, Hazan, Singer (2011), https://jmlr.org/papers/v12/duchi11a.html

    eps stands outside the root, as in torch.
    """
    return optim.Adagrad(params, lr=lr, eps=eps, fused=fused(params))


def adadelta(params: list[Parameter], *, lr: Positive, rho: Decay, eps: Positive) -> Optimizer:
    """r <- rho r + (1 - rho) g^2; d = g sqrt(s + eps) / sqrt(r + eps); s <- rho s + (1 - rho) d^2; w <- w - lr d.

    Zeiler (2012), Algorithm 1, https://arxiv.org/abs/1212.5701 (there lr = 1). eps stands inside both roots.
    """
    return optim.Adadelta(params, lr=lr, rho=rho, eps=eps)


def rmsprop(params: list[Parameter], *, lr: Positive, alpha: Decay, eps: Positive, momentum: Decay) -> Optimizer:
    """r <- alpha r + (1 - alpha) g^2; w <- w - lr g / (sqrt(r) + eps), the fraction through momentum if there is any.

    Hinton (2012), lecture 6e, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
    """
    return optim.RMSprop(params, lr=lr, alpha=alpha, eps=eps, momentum=momentum)
