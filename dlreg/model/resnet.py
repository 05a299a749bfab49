"""Residual networks of the CIFAR family."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Count
from dlreg.model.blocks import Activation, Norm, Residual, Size, channels_last, image_shape, three_stages
from dlreg.model.blocks import activation as make_activation


class ResNet(nn.Module):
    """ResNet-(6n+2): conv 3x3, three stages of n residual blocks with w, 2w, 4w channels, mean pooling, linear.

    He, Zhang, Ren, Sun (2016), section 4.2, https://arxiv.org/abs/1512.03385. `width` w is 16 there. `shortcut=A` is
    theirs on CIFAR: every second pixel and zeros for the new channels, no parameters; `B` projects with a 1x1
    convolution.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        norm: Norm,
        *,
        depth: Count,
        width: Count,
        shortcut: Literal["A", "B"],
        activation: Activation,
    ) -> None:
        super().__init__()
        if (depth - 2) % 6 or depth < 8:
            near = max(8, 6 * round((depth - 2) / 6) + 2)
            raise UserError(
                f"model.depth={depth} must be 6n+2 (8, 14, 20, 32, 44, 56, 110, 1202); the nearest is {near}"
            )
        n_channels = image_shape(shape, "resnet", 1)[0]
        sizes = list(three_stages(width, width, (depth - 2) // 6))
        blocks = [_block(size, norm, shortcut, activation) for size in sizes]
        self.stem = nn.Sequential(norm(nn.Conv2d(n_channels, width, 3, padding=1)), make_activation(activation))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(sizes[-1].n_out, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.head(self.blocks(self.stem(channels_last(x))).mean((2, 3)))


class PadShortcut(nn.Module):
    """Option A of He et al.: subsample and pad with zero channels."""

    def __init__(self, stride: int, more: int) -> None:
        super().__init__()
        self.stride, self.more = stride, more

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + more, H / stride, W / stride)."""
        kept = F.avg_pool2d(x, 1, self.stride)  # x[:, :, ::stride, ::stride], whose derivative takes twice as long
        return F.pad(kept, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))


def _block(size: Size, norm: Norm, kind: str, activation: Activation) -> Residual:
    n_in, n_out, stride = size
    branch = nn.Sequential(
        norm(nn.Conv2d(n_in, n_out, 3, stride, padding=1)),
        make_activation(activation),
        norm(nn.Conv2d(n_out, n_out, 3, padding=1)),
    )
    if stride == 1 and n_in == n_out:
        shortcut: nn.Module = nn.Identity()
    elif kind == "A":
        shortcut = PadShortcut(stride, n_out - n_in)
    else:
        shortcut = norm(nn.Conv2d(n_in, n_out, 1, stride))
    return Residual(branch, shortcut, make_activation(activation))
