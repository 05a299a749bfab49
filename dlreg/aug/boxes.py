"""Rectangles within images, one per image."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from dlreg.errors import UserError

TRIES = 10  # torchvision's


def ordered(option: str, interval: list[float], limit: float = math.inf) -> list[float]:
    """The interval, if it is one and ends by `limit`."""
    low, high = interval
    if not low <= high <= limit:
        most = f" and at most {limit:g}" if limit < math.inf else ""
        raise UserError(f"aug.{option}={interval} must be [low, high] with low <= high{most}")
    return interval


def mask(x: Tensor, top: Tensor, left: Tensor, height: Tensor | int, width: Tensor | int) -> Tensor:
    """`(N, 1, H, W)`: which pixels lie in `[top, top + height) x [left, left + width)`, clipped at the border."""
    rows, columns = _within(x, 2, top, height), _within(x, 3, left, width)
    return (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)


def _within(x: Tensor, dim: int, start: Tensor, size: Tensor | int) -> Tensor:
    """(N, side): which rows (or columns) lie in [start, start + size)."""
    offset = torch.arange(x.shape[dim], device=x.device) - start.unsqueeze(1)
    return (offset >= 0) & (offset < (size.unsqueeze(1) if isinstance(size, Tensor) else size))


def draw_box(
    x: Tensor, area: list[float], ratio: list[float], generator: torch.Generator, otherwise: Literal["all", "nothing"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`(top, left, height, width)`, each `(N,)`: area from U(area) as a fraction of the image, width / height = ratio
    log-uniform, the place uniform. The first of ten that fits; `otherwise` says what an image without any gets.
    """
    rows, columns = x.shape[-2:]
    u, v, w, z = torch.rand((4, len(x), TRIES), device=x.device, generator=generator)
    size = (area[0] + u * (area[1] - area[0])) * (rows * columns)
    root = torch.exp((math.log(ratio[0]) + v * math.log(ratio[1] / ratio[0])) / 2)  # sqrt(width / height)
    height, width = (size.sqrt() / root).round(), (size.sqrt() * root).round()
    fits = (height >= 1) & (height <= rows) & (width >= 1) & (width <= columns)
    first, found = fits.int().argmax(1, keepdim=True), fits.any(1)
    height, width, w, z = (values.gather(1, first).squeeze(1) for values in (height, width, w, z))
    height = torch.where(found, height, rows if otherwise == "all" else 0)
    width = torch.where(found, width, columns if otherwise == "all" else 0)
    return (w * (rows - height + 1)).floor(), (z * (columns - width + 1)).floor(), height, width
