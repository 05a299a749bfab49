"""Wide residual networks."""

from __future__ import annotations

from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Count
from dlreg.model.blocks import Activation, Norm, Residual, Size, Through, bare, channels_last, image_shape, three_stages
from dlreg.model.blocks import activation as make_activation


class WideResNet(nn.Module):
    """WRN-depth-widen: conv 3x3 with 16 channels, three groups of (depth - 4) / 6 blocks with 16k, 32k, 64k channels.

    Zagoruyko & Komodakis (2016), table 1, https://arxiv.org/abs/1605.07146. The blocks are pre-activated (He et al. 2016,
    https://arxiv.org/abs/1603.05027): norm, f, conv, norm, f, conv; where the width changes, the first norm and f come
    before the 1x1 projection too. The paper's dropout between the convolutions is `reg=dropout reg.dropout.conv_p=0.3`,
    which acts before every convolution but the first.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        norm: Norm,
        *,
        depth: Count,
        widen: Count,
        activation: Activation,
    ) -> None:
        super().__init__()
        if (depth - 4) % 6 or depth < 10:
            near = max(10, 6 * round((depth - 4) / 6) + 4)
            raise UserError(f"model.depth={depth} must be 6n+4 (10, 16, 22, 28, 40); the nearest is {near}")
        sizes = list(three_stages(16, 16 * widen, (depth - 4) // 6))
        blocks = [_block(size, norm, activation) for size in sizes]
        n_in = sizes[-1].n_out
        self.stem = bare(nn.Conv2d(image_shape(shape, "wrn", 1)[0], 16, 3, padding=1, bias=False), norm)
        self.blocks = nn.Sequential(*blocks)
        self.after = _activated(n_in, norm, activation)
        self.head = nn.Linear(n_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.head(self.after(self.blocks(self.stem(channels_last(x)))).mean((2, 3)))


def _activated(channels: int, norm: Norm, activation: Activation) -> nn.Sequential:
    return nn.Sequential(norm(Through(channels)), make_activation(activation))


def _block(size: Size, norm: Norm, activation: Activation) -> nn.Module:
    n_in, n_out, stride = size
    before = _activated(n_in, norm, activation)
    branch = nn.Sequential(
        norm(nn.Conv2d(n_in, n_out, 3, stride, padding=1)),
        make_activation(activation),
        bare(nn.Conv2d(n_out, n_out, 3, padding=1, bias=False), norm),
    )
    if stride == 1 and n_in == n_out:
        return Residual(nn.Sequential(before, *branch), nn.Identity(), nn.Identity())
    projection = bare(nn.Conv2d(n_in, n_out, 1, stride, bias=False), norm)
    return nn.Sequential(before, Residual(branch, projection, nn.Identity()))
