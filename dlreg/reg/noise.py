"""Fast random masks with an exact expectation."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 1 << 16


def drop_mask(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """A mask like `x`: 0 with probability q, else 1 / (1 - q), where q is `p` rounded to a multiple of 2^-16.

    Scaling by q and not p makes the expectation exactly 1. Random 64-bit words are read as four 16-bit numbers each,
    which is several times faster than one float per element.
    """
    threshold = min(round(p * LEVELS), LEVELS - 1)
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    words.random_(-(2**63), None, generator=generator)
    keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= threshold - LEVELS // 2
    return keep.to(x.dtype).mul_(LEVELS / (LEVELS - threshold))
