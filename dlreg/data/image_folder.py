"""A folder of pictures as a data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dlreg.data.base import Dataset, Split, reads
from dlreg.errors import UserError, shown
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
    names = parts[0][1]
    return Dataset(parts[0][0], parts[1][0], max(2, len(names)), names=tuple(names) if len(names) > 1 else ())


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
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    if channels not in (1, 3):
        raise UserError(f"data.channels={channels} must be 1 or 3")
    steps = [v2.Grayscale(channels)] if channels == 1 else [v2.RGB()]
    steps += [v2.Resize((size, size), antialias=True), v2.PILToTensor()]
    _check(folder)
    try:
        found = ImageFolder(str(folder), transform=v2.Compose(steps))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read: {shown(error, 200)} (data.root=DIR with DIR/train/CLASS/IMAGE)"
        ) from None
    x = torch.stack([_image(found.loader, Path(path), found.transform) for path, _ in found.samples])
    return Split(x, torch.tensor(found.targets)), found.classes


def _image(loader: Callable[[str], Any], path: Path, transform: Callable[[Any], Tensor]) -> Tensor:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return transform(loader(str(path)))
    except Exception as error:  # whatever the readers of some twenty formats make of damage
        raise UserError(f"{path} cannot be read: {shown(error, 200)}") from None


def _check(folder: Path) -> None:
    """Refuse links that lead to a folder a second time, which count its images again, and files that are no files."""
    seen: dict[str, str] = {}
    for place, _, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            raise UserError(f"{place} is a link to {seen[real]}, whose images would count twice")
        seen[real] = place
        for name in names:
            if not os.path.isfile(path := os.path.join(place, name)):
                raise UserError(f"{path} is not a file")
