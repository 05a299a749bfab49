"""The weights that a run left in its folder, by the names that they have in the network."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from dlreg import durable
from dlreg.model.blocks import plain_name


def plain_weights(path: Path, device: torch.device) -> dict[str, Tensor] | None:
    """`layers.1.weight -> tensor` of the last weights in a run's file, and its buffers; None if it is not as it was written.

    Weights are those that act without noise and gates; lengths and directions of weight normalization are multiplied.
    """
    content = durable.read_listed(path.parent, path.name)
    if content is None:
        return None
    saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)["last"]
    plain = {plain_name(name): tensor for name, tensor in saved.items() if not name.endswith("original0")}
    for name in (name for name in saved if name.endswith("original0")):  # the lengths of what is in `plain`
        v = plain[plain_name(name)]
        factor = saved[name] / torch.linalg.vector_norm(v.flatten(1), dim=1)
        plain[plain_name(name)] = v * factor.view(-1, *[1] * (v.dim() - 1))
    return plain
