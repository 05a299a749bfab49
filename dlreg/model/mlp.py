"""Fully connected networks."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlreg.hyper import Widths
from dlreg.model.blocks import Activation, Norm
from dlreg.model.blocks import activation as make_activation


class MLP(nn.Module):
    """Multilayer perceptron: h <- f(norm(W h + b)) for each width of `hidden`, then logits.

    Rumelhart, Hinton, Williams (1986), https://www.nature.com/articles/323533a0. `hidden=[]` is softmax regression.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, norm: Norm, *, hidden: Widths, activation: Activation
    ) -> None:
        super().__init__()
        widths = [math.prod(shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            layers += [norm(nn.Linear(n_in, n_out)), make_activation(activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> logits (N, K)."""
        return self.layers(x)
