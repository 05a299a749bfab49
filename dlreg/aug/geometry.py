"""Warping a batch of images, each by its own affine map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def uniform(x: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One number per sample from U(low, high)."""
    return torch.rand(len(x), device=x.device, generator=generator).mul_(high - low).add_(low)


def warp(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Bilinear warp of `(N, C, H, W)` about the centre; what comes from outside is 0.

    Output pixel (u, v), in pixels from the centre, takes the input at (a u + b v + right, c u + d v + down). Each of
    the six is `(N,)`.
    """
    height, width = x.shape[-2:]
    rows = [a, b * (height / width), right * (2 / width), c * (width / height), d, down * (2 / height)]
    theta = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
