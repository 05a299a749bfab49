"""A folder of pictures as a data set."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dlreg.data.base import Dataset, Split, reads
from dlreg.errors import UserError
from dlreg.hyper import Count


@reads(lambda root, size, channels: _pictures(root))
def image_folder(root: Path, download: bool, *, size: Count, channels: Count) -> Dataset:
    """`ROOT/train/CLASS/*.png` and `ROOT/test/CLASS/*.png` (or jpg, bmp, webp ...), resized to `size` x `size`.

    Classes are the folder names in alphabetical order; both parts must have the same. Reading is torchvision's
    ImageFolder; resizing is bilinear with antialiasing.
    """
    parts = [_read(root / part, size, channels) for part in ("train", "test")]
    if parts[0][1] != parts[1][1]:
        raise UserError(f"{root}: train and test have different classes: {parts[0][1]} and {parts[1][1]}")
    return Dataset(parts[0][0], parts[1][0], classes=max(2, len(parts[0][1])))


def _pictures(root: Path) -> list[Path]:
    """Every file below the two parts, links followed once."""
    found, seen = [], set()
    for part in ("train", "test"):
        for folder, inner, files in os.walk(root / part, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                inner.clear()
                continue
            seen.add(real)
            found += [Path(folder) / name for name in files]
    return sorted(found)


def _read(folder: Path, size: int, channels: int) -> tuple[Split, list[str]]:
    from PIL import UnidentifiedImageError
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    if channels not in (1, 3):
        raise UserError(f"data.channels={channels} must be 1 or 3")
    steps = [v2.Grayscale(channels)] if channels == 1 else [v2.RGB()]
    steps += [v2.Resize((size, size), antialias=True), v2.PILToTensor()]
    try:
        found = ImageFolder(str(folder), transform=v2.Compose(steps))
        samples = [found[i] for i in range(len(found))]
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{folder} cannot be read: {error} (data.root=DIR with DIR/train/CLASS/IMAGE)") from None
    return Split(torch.stack([x for x, _ in samples]), torch.tensor([y for _, y in samples])), found.classes
