"""Moving the pixels of a batch of images, each by its own map. Coordinates are pixels from the image's centre.

A map says where an output pixel comes from. What comes from outside the image is 0.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["nearest", "bilinear"]


def centres(x: Tensor, dim: int) -> Tensor:
    """Where the pixel centres lie along one axis."""
    side = x.shape[dim]
    return torch.arange(side, device=x.device, dtype=x.dtype) - (side - 1) / 2


def sample(x: Tensor, at: Tensor, interpolation: Interpolation) -> Tensor:
    """The images at the places `(N, H, W)`, complex numbers: to the right + i downward, in units of half a side.

    Complex, because a sum of complex numbers writes both coordinates at once, as grid_sample wants them.
    """
    return F.grid_sample(x, torch.view_as_real(at), mode=interpolation, padding_mode="zeros", align_corners=False)


def places(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Coordinates in pixels from the centre as complex numbers in units of half a side."""
    height, width = x.shape[-2:]
    return torch.complex(across * (2 / width), down * (2 / height))


Pair = tuple[Tensor, Tensor]  # across and down, each `(N,)`


def affine(x: Tensor, right: Pair, below: Pair, shift: Pair, interpolation: Interpolation) -> Tensor:
    """Output pixel (u, v) comes from u * right + v * below + shift: where the pixel to the right and the one below look."""
    by_u, by_v, start = (places(x, *pair).view(-1, 1, 1) for pair in (right, below, shift))
    u, v = centres(x, 3), centres(x, 2).unsqueeze(1)
    return sample(x, by_u * u + (by_v * v + start), interpolation)


def rotate(x: Tensor, degrees: Tensor, interpolation: Interpolation) -> Tensor:
    """Turn counterclockwise about the centre."""
    angle = degrees * (torch.pi / 180)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return affine(x, (cos, sin), (-sin, cos), (zero, zero), interpolation)


def translate(x: Tensor, right: Tensor, down: Tensor, interpolation: Interpolation) -> Tensor:
    """Shift by `right` and `down` pixels."""
    one, zero = torch.ones_like(right), torch.zeros_like(right)
    return affine(x, (one, zero), (zero, one), (-right, -down), interpolation)


def stretch(x: Tensor, across: Tensor, down: Tensor, interpolation: Interpolation) -> Tensor:
    """Magnify about the centre by one factor along each axis."""
    zero = torch.zeros_like(across)
    return affine(x, (1 / across, zero), (zero, 1 / down), (zero, zero), interpolation)


def shear(x: Tensor, across: Tensor, down: Tensor, interpolation: Interpolation) -> Tensor:
    """Slant about the centre by two angles in degrees: rows slide by tan(across) per row, then columns by tan(down)."""
    p, q = ((angle * (torch.pi / 180)).tan() for angle in (across, down))
    one, zero = torch.ones_like(p), torch.zeros_like(p)
    return affine(x, (1 + p * q, q), (p, one), (zero, zero), interpolation)


def move(x: Tensor, shear: Pair, shift: Pair, degrees: Tensor, interpolation: Interpolation) -> Tensor:
    """One of three things for each image, while the numbers of the other two are 0.

    Slant by two slopes with the top left corner fixed, (X, Y) from (X + across Y, down X + Y); shift to the right and
    downward by pixels; or turn counterclockwise about the centre.
    """
    (across, down), (right, below), angle = shear, shift, degrees * (torch.pi / 180)
    cos, sin, (height, width) = angle.cos(), angle.sin(), x.shape[2:]
    start = across * (height / 2) - right, down * (width / 2) - below
    return affine(x, (cos, down + sin), (across - sin, cos), start, interpolation)


def own_corners(x: Tensor) -> Tensor:
    """`(4, 2)`: the image's corners, clockwise from the top left."""
    right, down = x.shape[3] / 2, x.shape[2] / 2
    corners = torch.tensor([[-right, -down], [right, -down], [right, down], [-right, down]], dtype=x.dtype)
    return corners.to(x.device, non_blocking=True)


def perspective(x: Tensor, corners: Tensor, interpolation: Interpolation) -> Tensor:
    """Project the image onto quadrilaterals: `corners` `(N, 4, 2)` say where its corners go, clockwise from the top left.

    Output pixel (u, v) comes from ((a u + b v + c) / w, (d u + e v + f) / w) with w = g u + h v + 1: eight linear
    equations for eight numbers.
    """
    source = own_corners(x).expand_as(corners)
    plane = torch.cat([corners, torch.ones_like(corners[..., :1])], 2)
    nought = torch.zeros_like(plane)
    first = torch.cat([plane, nought, -source[..., :1] * corners], 2)
    second = torch.cat([nought, plane, -source[..., 1:] * corners], 2)
    equations, values = torch.cat([first, second], 1), torch.cat([source[..., 0], source[..., 1]], 1)
    solution = torch.linalg.solve_ex(equations, values).result  # solve() would wait for the device to check
    a, b, c, d, e, f, g, h = solution.view(-1, 8, 1, 1).unbind(1)
    u, v = centres(x, 3), centres(x, 2).unsqueeze(1)
    depth = g * u + (h * v + 1)
    return sample(x, places(x, (a * u + (b * v + c)) / depth, (d * u + (e * v + f)) / depth), interpolation)


def displace(x: Tensor, across: Tensor, down: Tensor, interpolation: Interpolation) -> Tensor:
    """Output pixel (u, v) comes from (u + across, v + down), both fields `(N, H, W)`."""
    return sample(x, places(x, centres(x, 3) + across, centres(x, 2).unsqueeze(1) + down), interpolation)


def lens(x: Tensor, k: Tensor, interpolation: Interpolation) -> Tensor:
    """Radial distortion: (u, v) comes from (u, v)(1 + k r^2), with r = 1 in the corners. k > 0 gives barrels."""
    u, v = centres(x, 3), centres(x, 2).unsqueeze(1)
    height, width = x.shape[-2:]
    stretched = 1 + k.view(-1, 1, 1) * ((u * u + v * v) / ((width**2 + height**2) / 4))
    return sample(x, places(x, u * stretched, v * stretched), interpolation)


def resized_crop(x: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """The rectangles `[top, top + height) x [left, left + width)`, enlarged bilinearly to the image's size.

    As if cropped first: pixels next to a rectangle do not shine into it.
    """
    across, down = (_magnified(x, dim, start, size) for dim, start, size in ((3, left, width), (2, top, height)))
    none = across.new_zeros(())
    return sample(x, places(x, across.unsqueeze(1), none) + places(x, none, down.unsqueeze(2)), "bilinear")


def _magnified(x: Tensor, dim: int, start: Tensor, size: Tensor) -> Tensor:
    """(N, side): where the output's pixels come from along one axis, held to the centres of the rectangle's pixels."""
    middle, half = (start + size / 2 - x.shape[dim] / 2).unsqueeze(1), ((size - 1) / 2).unsqueeze(1)
    offset = centres(x, dim) * (size.unsqueeze(1) / x.shape[dim])
    return middle + torch.minimum(torch.maximum(offset, -half), half)
