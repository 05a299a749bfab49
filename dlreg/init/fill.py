"""Normal, uniform, sparse, orthogonal and constant initializations.

Four formulas go by the name of Xavier: U(-1/sqrt n_in, 1/sqrt n_in), variance 1 / (3 n_in) (`fan_in_uniform`, which is
also torch's default for a linear layer); U(-a, a) with a = sqrt(6 / (n_in + n_out)) (`xavier_uniform`); N(0, 2 / (n_in +
n_out)) (`xavier_normal`, the same variance); N(0, 1 / n_in) (`lecun_normal`). Where a normal law is printed N(0, s), the
second number is a variance here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dlreg.hyper import Count, NonNegative, Positive

Layer = nn.Linear | nn.Conv2d


def default(layer: Layer, generator: torch.Generator) -> None:
    """torch's own: $$U(-1/sqrt n_in, 1/sqrt n_in)$$, weights and biases, as the layers were built (variance $1/(3 n_in)$).

    https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html. Nothing is changed here; the one option under
    which biases do not start at zero.
    """


def zeros(layer: Layer, generator: torch.Generator) -> None:
    """All zeros, $$w = 0$$: every hidden unit stays the same and the loss starts at $ln K$.

    Goodfellow et al. (2016), section 8.4, https://www.deeplearningbook.org/contents/optimization.html
    """
    _fill(layer, nn.init.zeros_)


def normal(layer: Layer, generator: torch.Generator, *, std: NonNegative) -> None:
    """$$N(0, std^2)$$; `std=10` is the too large start, $10 N(0, 1)$, that lectures warn of.

    Goodfellow et al. (2016), section 8.4, https://www.deeplearningbook.org/contents/optimization.html
    """
    _normal(layer, std, generator)


def sparse(layer: Layer, generator: torch.Generator, *, k: Count, std: Positive) -> None:
    """Each unit gets `k` incoming weights from $$N(0, std^2)$$, at random places; all its others are zero.

    Martens (2010), section 5, https://www.cs.toronto.edu/~jmartens/docs/Deep_HessianFree.pdf (k = 15, std = 1). Counted
    per unit, as there; torch's sparse_ counts zeros per input. A unit with fewer than k inputs keeps all of them.
    """

    def rule(weight: Tensor) -> None:
        nn.init.normal_(weight, std=std, generator=generator)
        rows = weight.view(len(weight), -1)
        ranks = torch.rand(rows.shape, generator=generator).argsort(1).argsort(1)
        rows[ranks >= k] = 0

    _fill(layer, rule)


def fan_in_uniform(layer: Layer, generator: torch.Generator) -> None:
    """$$U(-1/sqrt n_in, 1/sqrt n_in)$$, variance $1 / (3 n_in)$: "Xavier" in some lectures, the standard before Xavier.

    Glorot & Bengio (2010), eq. 1, https://proceedings.mlr.press/v9/glorot10a.html, where it is the heuristic to improve
    on. Unlike `default` it sets biases to zero.
    """
    _uniform(layer, math.sqrt(1 / _n_in(layer)), generator)


def xavier_uniform(layer: Layer, generator: torch.Generator) -> None:
    """$$U(-a, a), a = sqrt(6 / (n_in + n_out))$$, variance $2 / (n_in + n_out)$: "normalized Xavier" in some lectures.

    Glorot & Bengio (2010), eq. 16, https://proceedings.mlr.press/v9/glorot10a.html. Four formulas are called Xavier: this,
    `xavier_normal`, `fan_in_uniform` and `lecun_normal`.
    """
    _uniform(layer, math.sqrt(6 / (_n_in(layer) + _n_out(layer))), generator)


def xavier_normal(layer: Layer, generator: torch.Generator) -> None:
    """$$N(0, 2 / (n_in + n_out))$$, the second number a variance.

    Glorot & Bengio (2010), eq. 12, https://proceedings.mlr.press/v9/glorot10a.html. Four formulas are called Xavier: this,
    `xavier_uniform`, `fan_in_uniform` and `lecun_normal`.
    """
    _normal(layer, math.sqrt(2 / (_n_in(layer) + _n_out(layer))), generator)


def he_normal(layer: Layer, generator: torch.Generator) -> None:
    """$$N(0, 2 / n_in)$$, the second number a variance (a lecture that prints $N(0, sqrt(2 / n))$ means the deviation).

    He et al. (2015), eq. 10, https://arxiv.org/abs/1502.01852
    """
    _normal(layer, math.sqrt(2 / _n_in(layer)), generator)


def he_uniform(layer: Layer, generator: torch.Generator) -> None:
    """$$U(-a, a), a = sqrt(6 / n_in)$$, variance $2 / n_in$. He et al. (2015), eq. 10, https://arxiv.org/abs/1502.01852"""
    _uniform(layer, math.sqrt(6 / _n_in(layer)), generator)


def lecun_normal(layer: Layer, generator: torch.Generator) -> None:
    """$$N(0, 1 / n_in)$$, the second number a variance: "Xavier" in some lectures.

    LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, eq. 16, https://doi.org/10.1007/3-540-49430-8_2
    """
    _normal(layer, math.sqrt(1 / _n_in(layer)), generator)


def lecun_uniform(layer: Layer, generator: torch.Generator) -> None:
    """$$U(-a, a), a = sqrt(3 / n_in)$$, variance $1 / n_in$.

    LeCun, Bottou, Orr, Mueller (1998), Efficient BackProp, eq. 16, https://doi.org/10.1007/3-540-49430-8_2
    """
    _uniform(layer, math.sqrt(3 / _n_in(layer)), generator)


def orthogonal(layer: Layer, generator: torch.Generator, *, gain: Positive) -> None:
    """$$W = gain Q$$, Q drawn evenly from the matrices with orthonormal rows (or columns, where those are fewer).

    Saxe, McClelland, Ganguli (2014), section 3, https://arxiv.org/abs/1312.6120. A convolution's matrix is its flattened
    kernel, one row per output channel.
    """

    def rule(weight: Tensor) -> None:
        matrices = weight.view(-1, _units(layer), _n_in(layer))  # one; a local layer has one per position
        wide = matrices.shape[1] < matrices.shape[2]
        drawn = nn.init.normal_(matrices.mT if wide else matrices, generator=generator)
        q, r = torch.linalg.qr(drawn)
        q = q * r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)  # without the signs Q would not be evenly drawn
        matrices.copy_(gain * (q.mT if wide else q))

    _fill(layer, rule)


@torch.no_grad()
def _fill(layer: Layer, rule: Callable[[Tensor], object]) -> None:
    """Set the weight to what `rule` writes, and the bias to zero."""
    weight = torch.empty_like(layer.weight)
    rule(weight)
    if parametrize.is_parametrized(layer, "weight"):
        layer.weight = weight  # which takes it apart into what is learnt
    else:
        layer.weight.copy_(weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _normal(layer: Layer, std: float, generator: torch.Generator) -> None:
    _fill(layer, lambda weight: nn.init.normal_(weight, std=std, generator=generator))


def _uniform(layer: Layer, a: float, generator: torch.Generator) -> None:
    _fill(layer, lambda weight: nn.init.uniform_(weight, -a, a, generator=generator))


def _units(layer: Layer) -> int:
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _n_in(layer: Layer) -> int:
    return layer.weight[0].numel()


def _n_out(layer: Layer) -> int:
    return _units(layer) * math.prod(layer.weight.shape[2:])
