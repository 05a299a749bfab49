"""The classical convolutional network."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Count, Widths
from dlreg.model.blocks import Activation, Norm
from dlreg.model.blocks import activation as make_activation

Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]


class LeNet(nn.Module):
    """LeNet-5 with max pooling: conv 5x5, pool, conv 5x5, pool, then fully connected layers.

    LeCun, Bottou, Bengio, Haffner (1998), fig. 2, https://ieeexplore.ieee.org/document/726791. As there, 28 x 28 inputs
    are padded to 32 x 32; inputs under 12 pixels are padded before the second convolution too, or nothing would be left.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        norm: Norm,
        *,
        channels: Pair,
        hidden: Widths,
        activation: Activation,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise UserError(f"model=lenet needs images of at least 4 x 4 pixels; this data has the shape {shape}")
        first, second = channels
        pad = [2 if min(shape[1:]) < 32 else 0, 2 if min(shape[1:]) < 12 else 0]
        sides = [_side(_side(n, pad[0]), pad[1]) for n in shape[1:]]
        layers: list[nn.Module] = []
        for n_in, n_out, padding in ((shape[0], first, pad[0]), (first, second, pad[1])):
            conv = nn.Conv2d(n_in, n_out, 5, padding=padding)
            layers += [norm(conv), make_activation(activation), nn.MaxPool2d(2)]
        widths = [second * sides[0] * sides[1], *hidden]
        layers.append(nn.Flatten())
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            layers += [norm(nn.Linear(n_in, n_out)), make_activation(activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.layers(x)


def _side(side: int, padding: int) -> int:
    return (side + 2 * padding - 4) // 2
