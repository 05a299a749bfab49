"""MNIST and the sets that copy its format."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import torch

from dlreg.data.base import Dataset, Split, reads
from dlreg.data.idx import find, read_idx
from dlreg.errors import UserError, shown

FILES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
MNIST = (  # SHA-256 of the four files, unpacked and as LeCun packed them
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)

FASHION = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"
)  # fmt: skip


@reads(lambda root: _files(root, "MNIST"), MNIST)
def mnist(root: Path, download: bool) -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits, 28 x 28.

    LeCun, Bottou, Bengio, Haffner (1998), https://ieeexplore.ieee.org/document/726791
    """
    return _family("MNIST", root, download)


@reads(lambda root: _files(root, "FashionMNIST"))
def fashion_mnist(root: Path, download: bool) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 pictures of clothes, 28 x 28. Xiao et al. (2017), https://arxiv.org/abs/1708.07747"""
    return dataclasses.replace(_family("FashionMNIST", root, download, upright=False), names=FASHION)


@reads(lambda root: _files(root, "KMNIST"))
def kmnist(root: Path, download: bool) -> Dataset:
    """KMNIST: 60,000 + 10,000 cursive Japanese characters, 28 x 28. Clanuwat et al. (2018), https://arxiv.org/abs/1812.01718"""
    return _family("KMNIST", root, download)


def _files(root: Path, name: str) -> list[Path]:
    return [path for stem in FILES if (path := find(root / name / "raw", stem))]


def _family(name: str, root: Path, download: bool, upright: bool = True) -> Dataset:
    """torchvision fetches and checks; the idx files are read here, packed as they are, so `root` may be read-only."""
    folder = root / name / "raw"
    paths = [find(folder, stem) for stem in FILES]
    if None in paths and download:
        import torchvision

        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it tells of each address it tries
                getattr(torchvision.datasets, name)(str(root), download=True)
        except (OSError, RuntimeError) as error:
            offline = f"Offline: data.root=DIR with DIR/{name}/raw/*.gz"
            raise UserError(f"{name} could not be downloaded to {root} ({shown(error, 200)}). {offline}") from None
        paths = [find(folder, stem) for stem in FILES]
    missing = [stem for stem, path in zip(FILES, paths, strict=True) if path is None]
    if missing:
        raise UserError(
            f"data.root={root} lacks {name}/raw/{missing[0]}[.gz] (data.download=true fetches it; data.root=DIR names"
            " a folder that has it)"
        )
    images, labels, test_images, test_labels = (
        read_idx(path, dims) for path, dims in zip(paths, (3, 1, 3, 1), strict=True) if path is not None
    )
    return Dataset(
        Split(images.unsqueeze(1), labels.to(torch.int64)),
        Split(test_images.unsqueeze(1), test_labels.to(torch.int64)),
        classes=10,
        upright=upright,
    )
