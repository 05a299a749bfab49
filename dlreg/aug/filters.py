"""Filters on a neighbourhood, over a batch of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dlreg.aug.base import per_image
from dlreg.aug.color import grey


def gaussian(radius: int, sigma: Tensor) -> Tensor:
    """`(N, 2 radius + 1)`: the sampled bell curves of `sigma` `(N,)`, each summing to 1."""
    offset = torch.arange(-radius, radius + 1, device=sigma.device, dtype=sigma.dtype)
    weights = torch.exp(-0.5 * (offset / sigma.unsqueeze(1)) ** 2)
    return weights / weights.sum(1, keepdim=True)


def blur(x: Tensor, radius: int, sigma: Tensor) -> Tensor:
    """Convolve with Gaussians, cut off at `radius`, with the image reflected at its border."""
    weights = gaussian(radius, sigma)
    height, width = x.shape[-2:]
    padded = F.pad(x, [radius] * 4, mode="reflect")
    zero = x.new_zeros(())
    rows = sum((per_image(w) * padded[..., i : i + width] for i, w in enumerate(weights.unbind(1))), zero)
    return sum((per_image(w) * rows[:, :, i : i + height] for i, w in enumerate(weights.unbind(1))), zero)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the smoothed image: 0 gives it, 1 leaves x, beyond 1 sharpens. The border stays, as in PIL.

    The smoothing weighs a pixel 5 and its eight neighbours 1, over 13.
    """
    height, width = x.shape[-2:]
    if min(height, width) < 3:
        return x
    inner = x[..., 1:-1, 1:-1]
    rows = (x[..., :-2] + x[..., 1:-1]).add_(x[..., 2:])
    smooth = (rows[..., :-2, :] + rows[..., 1:-1, :]).add_(rows[..., 2:, :]).add_(inner, alpha=4).mul_(1 / 13)
    out = x.clone()
    out[..., 1:-1, 1:-1] = torch.lerp(smooth, inner, per_image(factor)).clamp_(0, 1)
    return out


def gradient(x: Tensor) -> Tensor:
    """`(N, 1, H, W)`: the length of Sobel's gradient of the grey image, 1 for a step from black to white."""
    padded = F.pad(grey(x), [1] * 4, mode="replicate")
    across = (padded[..., 2:] - padded[..., :-2]) / 4
    down = (padded[..., 2:, :] - padded[..., :-2, :]) / 4
    across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return torch.hypot(across, down)


def edge_enhance(x: Tensor, strength: Tensor) -> Tensor:
    """Add the gradient's length."""
    return (x + per_image(strength) * gradient(x)).clamp_(0, 1)
