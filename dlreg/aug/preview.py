"""A picture of what augmentations do: a row per image, the original first, then draw after draw."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from dlreg.reg.base import Regularizer

ROWS, DRAWS = 8, 7
CELL, GAP, LINE = 96, 6, 14  # pixels: the least side of a cell, between cells, of a line of text


def preview(reg: Regularizer, x: Tensor, y: Tensor, title: str) -> Image.Image:
    """The first images of a batch `(N, C, H, W)` in [0, 1] with class probabilities `(N, K)`, before and after `reg`."""
    columns = [(x, y), *(reg.batch(nn.Identity(), x, y) for _ in range(DRAWS))]
    zoom = math.ceil(CELL / min(x.shape[-2:]))
    width, height = x.shape[3] * zoom, x.shape[2] * zoom
    rows = min(ROWS, len(x))
    size = (GAP + len(columns) * (width + GAP), LINE + rows * (height + LINE + GAP))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    draw.text((GAP, 0), "original", "black", font)
    draw.text((2 * GAP + width, 0), title, "black", font)
    for column, (images, labels) in enumerate(columns):
        for row in range(rows):
            corner = (GAP + column * (width + GAP), LINE + row * (height + LINE + GAP))
            sheet.paste(picture(images[row]).resize((width, height), Image.Resampling.NEAREST), corner)
            draw.text((corner[0], corner[1] + height), label(labels[row]), "black", font)
    return sheet


def picture(image: Tensor) -> Image.Image:
    """An image `(C, H, W)` in [0, 1] of one or three channels."""
    eight = image.mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(eight.squeeze(2) if len(image) == 1 else eight).convert("RGB")


def label(y: Tensor) -> str:
    """`3`, or of a mixture its parts: `3:0.70 8:0.30`."""
    parts = sorted(((p, k) for k, p in enumerate(y.tolist()) if p > 0.005), reverse=True)
    return str(parts[0][1]) if len(parts) == 1 else " ".join(f"{k}:{p:.2f}" for p, k in parts)
