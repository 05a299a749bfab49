"""The idx files of the MNIST family, packed or not, read with bounds: a damaged or hostile file cannot fill the memory."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dlreg.errors import UserError, shown

MAX_BYTES = 1 << 30


def find(folder: Path, stem: str) -> Path | None:
    """`folder/stem` or `folder/stem.gz`, whichever exists."""
    return next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)


def read_idx(path: Path, dims: int) -> Tensor:
    """A uint8 tensor of `dims` dimensions from an idx file (http://yann.lecun.com/exdb/mnist, "file format").

    The header is 0 0 8 dims, then one big-endian uint32 per dimension; then exactly that many bytes.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        opened = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
        with opened as file:
            head = file.read(4 + 4 * dims)
            if len(head) < 4 + 4 * dims or head[:4] != bytes([0, 0, 8, dims]):
                raise UserError(f"{path} is not an idx file of {dims} dimensions of bytes (it starts {head[:4].hex()})")
            shape = [int(n) for n in np.frombuffer(head[4:], dtype=">u4")]
            size = int(np.prod(shape, dtype=object))
            if not 0 < size <= MAX_BYTES:
                raise UserError(f"{path} announces the shape {shape}: {size} bytes; allowed: 1 to {MAX_BYTES}")
            body = file.read(size + 1)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise UserError(f"{path} cannot be read: {shown(error, 200)}") from None
    if len(body) != size:
        more = "more than" if len(body) > size else f"only {len(body)} of"
        raise UserError(f"{path} holds {more} the {size} bytes its header announces: delete it and fetch it again")
    return torch.frombuffer(bytearray(body), dtype=torch.uint8).view(shape)
