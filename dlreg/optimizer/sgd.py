"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from torch import optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.hyper import Decay, Positive
from dlreg.optimizer.kernels import fused


def sgd(params: list[Parameter], *, lr: Positive) -> Optimizer:
    """w <- w - lr g. Robbins & Monro (1951), https://doi.org/10.1214/aoms/1177729586

    With `batch_size=full` this is gradient descent.
    """
    return optim.SGD(params, lr=lr, fused=fused(params))


def momentum(params: list[Parameter], *, lr: Positive, momentum: Decay) -> Optimizer:
    """v <- momentum v + g; w <- w - lr v. Polyak (1964), https://doi.org/10.1016/0041-5553(64)90137-5

    torch's form. The form with lr inside the velocity, v <- momentum v + lr g, is the same while lr is constant.
    """
    return optim.SGD(params, lr=lr, momentum=momentum, fused=fused(params))


def nesterov(params: list[Parameter], *, lr: Positive, momentum: Decay) -> Optimizer:
    """v <- momentum v + g; w <- w - lr (g + momentum v).

    Nesterov (1983) in the form of Sutskever et al. (2013), eq. 3 and 4, https://proceedings.mlr.press/v28/sutskever13.html
    """
    return optim.SGD(params, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused(params))
