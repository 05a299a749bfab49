"""What a finished run leaves beside its result: the weights, and what it predicted for each test sample."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlreg import durable
from dlreg.reg.base import Fitted

WEIGHTS, PREDICTIONS = "weights", "predictions.npz"
SELECTIONS = ("last", "best_val")


@dataclass(frozen=True)
class Predictions:
    """Of one model, in the order of the test set: true and predicted classes `(N,)`, probabilities `(N, K)` to 3 digits."""

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """Which samples it got wrong, `(N,)` bool."""
        return self.labels != self.predicted


def pack_weights(fitted: Fitted) -> bytes:
    """`{"last": state dict, "best_val": state dict}` as `torch.save` writes it."""
    models = {"last": fitted.last, "best_val": fitted.best_val}
    return packed({name: model.state_dict() for name, model in models.items() if model})


def pack_predictions(labels: Tensor, logits: dict[str, list[Tensor]]) -> bytes:
    """The logits of each selection, batch by batch, as a compressed `.npz`: probabilities in half precision."""
    arrays = {"labels": _small(labels)}
    for name, parts in logits.items():
        whole = torch.cat(parts)
        arrays[f"predicted_{name}"] = _small(whole.argmax(1))
        arrays[f"probabilities_{name}"] = whole.softmax(1).half().cpu().numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def predictions(folder: Path, select: str = "last") -> Predictions | None:
    """What the run in `folder` predicted; None for a run from before this was kept, or if the file is damaged."""
    content = durable.read_listed(folder, PREDICTIONS)
    if content is None:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if f"predicted_{select}" not in arrays:
            return None
        return Predictions(arrays["labels"], arrays[f"predicted_{select}"], arrays[f"probabilities_{select}"])


def packed(value: Any) -> bytes:
    """What `torch.save` makes of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _small(classes: Tensor) -> np.ndarray:
    return classes.cpu().numpy().astype(np.uint8 if int(classes.max()) < 256 else np.uint32)
