"""Normalization of weights, by their length or by the cosine of the angle to the input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dlreg.errors import UserError
from dlreg.hyper import Positive


def weight(layer: nn.Module) -> nn.Module:
    """Weight normalization: $$w = g v / ||v||$$ for each unit, g and v learnt; the bias stays.

    Salimans & Kingma (2016), eq. 2, https://arxiv.org/abs/1602.07868. As torch's weight_norm, and unlike the paper, which
    takes g and the bias from a first batch, training starts at $g = ||v||$: the function that `init` chose. Penalties and
    constraints on weights act on w, not on v, whose length the function does not depend on; so does `reg=weight_decay`,
    while the decay of `adamw`, `lion` and `muon` acts on v. The last layer is left as it is.
    """
    if getattr(layer, "weight", None) is not None:
        parametrize.register_parametrization(layer, "weight", Direction())
    return layer


weight.revision = 2  # type: ignore[attr-defined]


class Direction(nn.Module):
    """(g, v) -> g v / ||v||, one length per unit (row of the flattened weight)."""

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """The weight."""
        return v * (g / _lengths(v)).view(-1, *[1] * (v.dim() - 1))

    def right_inverse(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """g = ||w||, v = w."""
        lengths = _lengths(w)
        if not bool(lengths.all()):
            raise UserError("norm=weight needs weights with a direction: init leaves a unit with none but zeros")
        return lengths, w


def cosine(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Cosine normalization: $$y = <x, w> / (||x|| ||w||)$$, between -1 and 1, without a bias.

    Luo, Zhan, Wang, Yang (2018), https://arxiv.org/abs/1702.05870. For a convolution x is the patch under the
    kernel. Squared lengths get `eps` added, so that an empty patch yields 0.
    """
    if getattr(layer, "weight", None) is not None:
        layer.register_parameter("bias", None)
        layer.length_cancels = True  # type: ignore[assignment]
        # A hook and not a module around the layer: it sees the input that the layer saw, after any dropout.
        layer.register_forward_hook(_Lengths(eps))
    return layer


cosine.revision = 2  # type: ignore[attr-defined]


class _Lengths:
    """Divides a layer's output by the lengths of input and weights. A class and not a closure: models are copied."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        squares = inputs[0].square()
        w = (layer.weight.flatten(1).square().sum(1) + self.eps).rsqrt()
        if isinstance(layer, nn.Linear):
            return output * (squares.sum(-1, keepdim=True) + self.eps).rsqrt() * w
        patches = F.avg_pool2d(  # with the divisor 1 it is a sum
            squares.sum(1, keepdim=True), layer.kernel_size, layer.stride, layer.padding, divisor_override=1
        )
        grid = output.shape[2:] if len(w) > layer.out_channels else (1, 1)  # a local layer has a w at every position
        w = w.view(-1, layer.out_channels).T.reshape(layer.out_channels, *grid)
        return output * (patches + self.eps).rsqrt() * w


def _lengths(w: Tensor) -> Tensor:
    return torch.linalg.vector_norm(w.flatten(1), dim=1)
