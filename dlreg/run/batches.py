"""Which samples make up each step of an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dlreg.context import Context


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


def steps_per_epoch(n: int, batch_size: int) -> int:
    """How many batches `batches` makes."""
    full, rest = divmod(n, batch_size)
    return full + (rest > 1 or rest > full)
