"""A fitted model's outputs on many samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.data.normalize import at_least_single, to_unit

BATCH = 2000


@torch.no_grad()
def logits(model: nn.Module, x: Tensor) -> Tensor:
    """The model's logits in evaluation mode, on samples as the data set holds them."""
    model.eval()
    return at_least_single(torch.cat([model(to_unit(part)) for part in x.split(BATCH)]))
