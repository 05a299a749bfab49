"""Normal, uniform and constant initializations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dlreg.hyper import NonNegative


def default(layer: nn.Module, generator: torch.Generator) -> None:
    """torch's own: U(-1/sqrt n_in, 1/sqrt n_in), weights and biases, as the layers were built (variance 1/(3 n_in)).

    https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html. Nothing is changed here; the one option under
    which biases do not start at zero.
    """


def zeros(layer: nn.Module, generator: torch.Generator) -> None:
    """All zeros: every hidden unit stays the same and the loss starts at ln K.

    Goodfellow et al. (2016), section 8.4, https://www.deeplearningbook.org/contents/optimization.html
    """
    nn.init.zeros_(_weight(layer))


def normal(layer: nn.Module, generator: torch.Generator, *, std: NonNegative) -> None:
    """N(0, std^2). Goodfellow et al. (2016), section 8.4, https://www.deeplearningbook.org/contents/optimization.html"""
    nn.init.normal_(_weight(layer), std=std, generator=generator)


def xavier_uniform(layer: nn.Module, generator: torch.Generator) -> None:
    """U(-a, a), a = sqrt(6 / (n_in + n_out)).

    Glorot & Bengio (2010), eq. 16, https://proceedings.mlr.press/v9/glorot10a.html
    """
    nn.init.xavier_uniform_(_weight(layer), generator=generator)


def xavier_normal(layer: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / (n_in + n_out)), the second number a variance.

    Glorot & Bengio (2010), eq. 12, https://proceedings.mlr.press/v9/glorot10a.html
    """
    nn.init.xavier_normal_(_weight(layer), generator=generator)


def he_normal(layer: nn.Module, generator: torch.Generator) -> None:
    """N(0, 2 / n_in), the second number a variance. He et al. (2015), eq. 10, https://arxiv.org/abs/1502.01852"""
    nn.init.normal_(_weight(layer), std=math.sqrt(2 / _n_in(layer)), generator=generator)


def he_uniform(layer: nn.Module, generator: torch.Generator) -> None:
    """U(-a, a), a = sqrt(6 / n_in), variance 2 / n_in. He et al. (2015), eq. 10, https://arxiv.org/abs/1502.01852"""
    _uniform(layer, math.sqrt(6 / _n_in(layer)), generator)


def lecun_normal(layer: nn.Module, generator: torch.Generator) -> None:
    """N(0, 1 / n_in), the second number a variance (some lectures call this one Xavier).

    LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, eq. 16, https://doi.org/10.1007/3-540-49430-8_2
    """
    nn.init.normal_(_weight(layer), std=math.sqrt(1 / _n_in(layer)), generator=generator)


def lecun_uniform(layer: nn.Module, generator: torch.Generator) -> None:
    """U(-a, a), a = sqrt(3 / n_in), variance 1 / n_in.

    LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, eq. 16, https://doi.org/10.1007/3-540-49430-8_2
    """
    _uniform(layer, math.sqrt(3 / _n_in(layer)), generator)


def _weight(layer: nn.Module) -> Tensor:
    """The weight to fill; on the way, the bias becomes zero."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer.weight


def _n_in(layer: nn.Module) -> int:
    return layer.weight[0].numel()


def _uniform(layer: nn.Module, a: float, generator: torch.Generator) -> None:
    nn.init.uniform_(_weight(layer), -a, a, generator=generator)
