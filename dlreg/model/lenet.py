"""The classical convolutional network, and its twin without shared weights."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dlreg.hyper import Count, Widths
from dlreg.model.blocks import Activation, Norm, channels_last, image_shape
from dlreg.model.blocks import activation as make_activation

Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]


class LeNet(nn.Module):
    """LeNet-5 with max pooling: conv 5x5, pool, conv 5x5, pool, then fully connected layers.

    LeCun, Bottou, Bengio, Haffner (1998), fig. 2, https://ieeexplore.ieee.org/document/726791. As there, 28 x 28 inputs
    are padded to 32 x 32; inputs under 12 pixels are padded before the second convolution too, or nothing would be left.
    """

    name = "lenet"

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
        n_in, *sides = image_shape(shape, self.name, 4)
        pads = [2 if min(sides) < 32 else 0, 2 if min(sides) < 12 else 0]
        layers: list[nn.Module] = []
        for n_out, pad in zip(channels, pads, strict=True):
            sides = [side + 2 * pad - 4 for side in sides]
            layers += [norm(self.conv(n_in, n_out, pad, sides)), make_activation(activation), nn.MaxPool2d(2)]
            n_in, sides = n_out, [side // 2 for side in sides]
        widths = [n_in * sides[0] * sides[1], *hidden]
        layers.append(nn.Flatten())
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            layers += [norm(nn.Linear(n_in, n_out)), make_activation(activation)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    @staticmethod
    def conv(n_in: int, n_out: int, padding: int, sides: list[int]) -> nn.Conv2d:
        """A 5x5 convolution whose output has these sides."""
        return nn.Conv2d(n_in, n_out, 5, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.layers(channels_last(x))


class Local(LeNet):
    """LeNet with locally connected layers in place of convolutions: each position has weights of its own.

    Goodfellow et al. (2016), section 9.5 (unshared convolution), https://www.deeplearningbook.org/contents/convnets.html.
    Beside `model=lenet` it shows what sharing parameters is worth.
    """

    name = "local"

    @staticmethod
    def conv(n_in: int, n_out: int, padding: int, sides: list[int]) -> nn.Conv2d:
        """The same connections, unshared."""
        return LocalConv2d(n_in, n_out, 5, padding, sides)


class LocalConv2d(nn.Conv2d):
    """Unshared convolution: y[o, i, j] = bias[i, j, o] + sum over the patch of w[i, j, o, patch] x[patch at i, j].

    The rows of `weight` are the units, position by position: (H W out, in, k, k).
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, padding: int, sides: list[int]) -> None:
        super().__init__(n_in, n_out * sides[0] * sides[1], kernel, padding=padding)
        self.out_channels, self.sides, self.pad = n_out, sides, padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        patches = F.unfold(x, self.kernel_size, padding=self.pad).permute(2, 0, 1)  # (positions, N, patch)
        weight = self.weight.view(len(patches), self.out_channels, -1)
        y = torch.bmm(patches, weight.mT)
        if self.bias is not None:
            y = y + self.bias.view(len(patches), 1, -1)
        return y.permute(1, 2, 0).unflatten(2, self.sides)
