"""One NumPy archive as a data set."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlreg.data.base import Dataset, Split, reads
from dlreg.errors import UserError, shown

KEYS = ("x_train", "y_train", "x_test", "y_test")
MAX_BYTES = 16 << 30


@reads(lambda root, file: [root / file])
def npz(root: Path, download: bool, *, file: str) -> Dataset:
    """`ROOT/FILE` with arrays x_train, y_train, x_test, y_test.

    Images are uint8, `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with 1 or 3 channels; float arrays are features and
    keep their shape. Labels are whole numbers from 0. Object arrays (pickles) are refused.
    """
    return read_npz(root / file)


def read_npz(path: Path, classes: int | None = None) -> Dataset:
    """The data set in `path`; `classes` is the number of labels, by default the largest label plus one."""
    if not path.is_file():
        why = "is not a file" if path.exists() else "does not exist"
        raise UserError(f"{path} {why} (data.root=DIR and data.file=NAME say where it is)")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_BYTES:
                raise UserError(f"{path} unpacks to more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in KEYS if key not in arrays]
            if missing:
                raise UserError(f"{path} lacks the array {missing[0]}; it must hold {', '.join(KEYS)}")
            x_train, y_train, x_test, y_test = (arrays[key] for key in KEYS)
    except UserError:
        raise
    except Exception as error:  # whatever zip files, their compression and NumPy make of damage, no memory included
        raise UserError(f"{path} cannot be read as a plain .npz: {shown(error, 200)}") from None
    splits = [
        Split(_samples(x_train, f"{path}: x_train"), _labels(y_train, f"{path}: y_train")),
        Split(_samples(x_test, f"{path}: x_test"), _labels(y_test, f"{path}: y_test")),
    ]
    found = max((int(s.y.max()) + 1 for s in splits if len(s)), default=0)
    return Dataset(splits[0], splits[1], classes or max(2, found))


def _samples(array: np.ndarray, where: str) -> Tensor:
    if array.dtype.kind == "f" and array.ndim >= 2:
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        raise UserError(f"{where} is {array.dtype} {array.shape}; allowed: uint8 images or float features")
    x = torch.from_numpy(array)
    if x.dim() == 3:
        return x.unsqueeze(1)
    if x.shape[-1] in (1, 3):
        return x.permute(0, 3, 1, 2).contiguous()
    if x.shape[1] in (1, 3):
        return x
    raise UserError(
        f"{where} has the shape {array.shape}: neither the second nor the last dimension is 1 or 3 channels"
    )


def _labels(array: np.ndarray, where: str) -> Tensor:
    if array.dtype.kind not in "iu" or array.squeeze().ndim != 1:
        raise UserError(f"{where} is {array.dtype} {array.shape}; allowed: one whole number per sample")
    return torch.from_numpy(array.reshape(-1).astype(np.int64))
