"""Fully connected networks."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlreg.hyper import Count, Widths
from dlreg.model.blocks import Activation, Norm
from dlreg.model.blocks import activation as make_activation


class MLP(nn.Module):
    """Multilayer perceptron: $$h <- f(norm(W h + b))$$ for each width of `hidden`, then logits.

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


class Maxout(nn.Module):
    """Multilayer perceptron of maxout units: $$h <- max_k norm(W_k h + b_k)$$ over the `pieces` k, then logits.

    Goodfellow, Warde-Farley, Mirza, Courville, Bengio (2013), section 2, https://arxiv.org/abs/1302.4389: two layers of 240
    units with 5 pieces each, trained with dropout, on MNIST.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm, *, hidden: Widths, pieces: Count) -> None:
        super().__init__()
        widths = [math.prod(shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            layers += [norm(nn.Linear(n_in, n_out * pieces)), nn.Unflatten(1, (n_out, pieces)), Max()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> logits (N, K)."""
        return self.layers(x)


class Max(nn.Module):
    """The largest along the last dimension."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., pieces) -> (...)."""
        return x.amax(-1)
