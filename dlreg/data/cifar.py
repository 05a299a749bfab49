"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import torch

from dlreg.data.base import Dataset, Split, reads
from dlreg.data.npz import read_npz
from dlreg.errors import UserError, shown

NAMES = {  # in the order of the labels
    "CIFAR10": "airplane automobile bird cat deer dog frog horse ship truck",
    "CIFAR100": """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
        flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
        motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
        poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
        squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
        wardrobe whale willow_tree wolf woman worm""",
}


@reads(lambda root: _copies(root, "CIFAR10"))
def cifar10(root: Path, download: bool) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 colour photographs, 32 x 32, 10 classes. `ROOT/cifar10.npz` serves as an offline copy.

    Krizhevsky (2009), https://www.cs.toronto.edu/~kriz/cifar.html
    """
    return _cifar("CIFAR10", 10, root, download)


@reads(lambda root: _copies(root, "CIFAR100"))
def cifar100(root: Path, download: bool) -> Dataset:
    """CIFAR-100: 50,000 + 10,000 colour photographs, 32 x 32, 100 classes. `ROOT/cifar100.npz` serves as an offline copy.

    Krizhevsky (2009), https://www.cs.toronto.edu/~kriz/cifar.html
    """
    return _cifar("CIFAR100", 100, root, download)


def _cifar(name: str, classes: int, root: Path, download: bool) -> Dataset:
    if copies := _copies(root, name):
        return dataclasses.replace(read_npz(copies[0], classes), names=tuple(NAMES[name].split()))
    import torchvision

    source = getattr(torchvision.datasets, name)  # unpickles its files only after their md5 sums agree
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells of what it finds
            train, test = (source(str(root), train=part, download=download) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"data.root={root} has neither {name.lower()}.npz nor torchvision's copy of {name} ({shown(error, 200)})"
            + ("" if download else "; data.download=true fetches it")
        ) from None
    names = tuple(NAMES[name].split())
    return Dataset(_split(train.data, train.targets), _split(test.data, test.targets), classes, names=names)


def _copies(root: Path, name: str) -> list[Path]:
    """The offline copy, if it is there; torchvision's own files are official, or refused by their checksums."""
    copy = root / f"{name.lower()}.npz"
    return [copy] if copy.exists() else []


def _split(images: object, labels: list[int]) -> Split:
    return Split(torch.as_tensor(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))
