"""Colours and light of a batch of images with values in [0, 1]; factors are `(N,)`, one per image.

As torchvision's functions for float tensors: the results are clamped to [0, 1] and not rounded to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlreg.aug.base import per_image, select
from dlreg.errors import UserError


def is_grey(x: Tensor) -> bool:
    """Whether the images have no colour. Raises UserError if they have neither one nor three channels."""
    if x.shape[1] not in (1, 3):
        raise UserError(f"colour augmentations need images with 1 or 3 channels, not {x.shape[1]}")
    return x.shape[1] == 1


def grey(x: Tensor) -> Tensor:
    """The luma of ITU-R BT.601, 0.2989 R + 0.587 G + 0.114 B, as `(N, 1, H, W)`."""
    if is_grey(x):
        return x
    red, green, blue = x.split(1, 1)
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def blend(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor x + (1 - factor) other: 1 leaves x, 0 gives `other`, beyond 1 leads away from it."""
    return (x * per_image(factor)).add_(other * per_image(1 - factor)).clamp_(0, 1)


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return (x * per_image(factor)).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean grey."""
    return blend(x, grey(x).mean((1, 2, 3), keepdim=True), factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image."""
    return x if is_grey(x) else blend(x, grey(x), factor)


def hue(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by a fraction of the colour circle, keeping HSV's value and saturation.

    With m and M the least and largest channel and h in [0, 6) the hue: channel = m + (M - m) w, where w, clamped to [0, 1], is
    |h - 3| - 1 for red, 2 - |h - 2| for green and 2 - |h - 4| for blue.
    """
    if is_grey(x):
        return x
    red, green, blue = x.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    h = select(high == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4))
    h = select(high == red, green - blue, h).div_(chroma.clamp_min(1e-12)).add_(6 * turn.view(-1, 1, 1))
    h.sub_(h.div(6).floor_(), alpha=6)
    weights = [(h - 3).abs_().sub_(1), (h - 2).abs_().neg_().add_(2), (h - 4).abs_().neg_().add_(2)]
    return torch.addcmul(low.unsqueeze(1), torch.stack(weights, 1).clamp_(0, 1), chroma.unsqueeze(1))


def gamma(x: Tensor, exponent: Tensor) -> Tensor:
    """x^exponent: black and white stay."""
    return x.pow(per_image(exponent))


def shift(x: Tensor, amount: Tensor) -> Tensor:
    """Add `amount` `(N, C)` to the channels."""
    return (x + amount[:, :, None, None]).clamp_(0, 1)


def invert(x: Tensor) -> Tensor:
    """The negative."""
    return 1 - x


def solarize(x: Tensor, threshold: Tensor) -> Tensor:
    """Invert what is at or above the threshold."""
    return select(x >= per_image(threshold), 1 - x, x)


def posterize(x: Tensor, bits: Tensor) -> Tensor:
    """Keep the leading bits (a whole number from 1 to 8) of the 8-bit values; 8 leaves all as it is."""
    step = torch.exp2(8 - per_image(bits))
    kept = ((x * 255).round_() / step).floor_().mul_(step).mul_(1 / 255)
    return select(step > 1, kept, x)


def autocontrast(x: Tensor) -> Tensor:
    """Stretch each channel so that its values reach from 0 to 1; a channel of one value stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    many = high > low
    return (x - torch.where(many, low, 0)).div_(torch.where(many, high - low, 1))


def equalize(x: Tensor) -> Tensor:
    """Give each channel a flat histogram over 256 levels, by the rule of PIL.

    step = (pixels - those of the brightest level) // 255; level k becomes (pixels below k + step // 2) // step. With fewer
    than 255 darker pixels step is 0 and the channel stays: always so below 16 x 16.
    """
    levels = x.mul(255.999).int().long().flatten(2)
    counts = torch.zeros(*levels.shape[:2], 256, device=x.device, dtype=torch.long)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    step = (levels.shape[2] - counts.gather(2, levels.amax(2, keepdim=True))) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=255).to(x.dtype).mul_(1 / 255)
    return select((step > 0).unsqueeze(3), table.gather(2, levels).view_as(x), x)
