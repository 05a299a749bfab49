"""The directions in which an image changes when it is moved, turned, stretched or thickened a little."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Direction = Literal["right", "down", "rotation", "scaling", "stretch", "diagonal", "thickness"]
Beyond = Literal["constant", "replicate"]
TANGENTS: tuple[Direction, ...] = get_args(Direction)


def tangents(x: Tensor, sigma: float, beyond: Beyond = "constant") -> Tensor:
    """Images `(N, C, H, W)` -> their seven tangent vectors `(7, N, C, H, W)`, in the order of `TANGENTS`.

    Simard, LeCun, Denker, Victorri (1998), section 12.5.3, https://doi.org/10.1007/3-540-49430-8_13: $d_u x$, $d_v x$,
    $v d_u x - u d_v x$, $u d_u x + v d_v x$, $u d_u x - v d_v x$, $v d_u x + u d_v x$, $(d_u x)^2 + (d_v x)^2$, of the image
    convolved with a Gaussian of `sigma` pixels (0: as it is). u to the right and v down run from -1 to 1 about the centre, so
    that one unit of a tangent moves the border by about a pixel. Derivatives are central differences; beyond its border the
    image is 0 (`constant`) or what it is there (`replicate`).
    """
    if sigma:
        x = blurred(x, sigma, beyond)
    padded = F.pad(x, (1, 1, 1, 1), beyond)
    du = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dv = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    v, u = (torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[2:])
    v = v.unsqueeze(1)
    moved = [du, dv, v * du - u * dv, u * du + v * dv, u * du - v * dv, v * du + u * dv]
    return torch.stack([*moved, du.square() + dv.square()])


def blurred(x: Tensor, sigma: float, beyond: Beyond = "constant") -> Tensor:
    """Convolved with a Gaussian, cut off at 3 sigma."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    weights = (-(offsets / sigma).square() / 2).exp()
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    rows = F.conv2d(F.pad(x, (radius,) * 4, beyond), weights, groups=x.shape[1])
    return F.conv2d(rows, weights.mT, groups=x.shape[1])
