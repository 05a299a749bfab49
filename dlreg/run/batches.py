"""Which samples make up each step of an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from dlreg.context import Context
from dlreg.data.base import Data
from dlreg.data.normalize import to_unit

GATHERED = 1 << 18  # values, a megabyte of floats: what is gathered at once should not push all else out of the caches


def batches(sampler: str, y: Tensor, batch_size: int, context: Context) -> Iterator[Tensor]:
    """The indices of each batch of one epoch over the samples with the classes y.

    A last batch of a single sample is left out (batch norm needs two).
    """
    generator = context.generator("order", "cpu")
    n = len(y)
    if sampler == "cyclic":
        order = torch.arange(n)
    elif sampler == "random":
        order = torch.randint(n, (n,), generator=generator)
    elif sampler == "balanced":
        labels = y.cpu()
        order = torch.multinomial(1 / labels.bincount().double()[labels], n, replacement=True, generator=generator)
    else:
        order = torch.randperm(n, generator=generator)
    parts = order.to(context.device).split(batch_size)
    return iter(parts[:-1] if len(parts) > 1 and batch_size > 1 and len(parts[-1]) == 1 else parts)


def gathered(data: Data, order: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """x in [0, 1] and targets `(N, K)` of each batch of indices. Small batches are gathered many at a time, as one copy."""
    together = max(1, GATHERED // (max(map(len, order), default=1) * math.prod(data.shape)))
    for i in range(0, len(order), together):
        few = order[i : i + together]
        index, sizes = torch.cat(few), [len(batch) for batch in few]
        x = to_unit(data.train.x.index_select(0, index))  # ten times as fast as x[index] on bytes
        y = data.task.targets(data.train.y[index])
        yield from zip(x.split(sizes), y.split(sizes), strict=True)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """How many batches `batches` makes."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1 or rest > full)
