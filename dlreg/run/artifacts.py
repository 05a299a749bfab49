"""What a finished run leaves beside its result: the weights, and what it predicted for each test sample."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlreg.data.task import word_of
from dlreg.reg.base import Fitted

WEIGHTS = "weights"


def pack_weights(fitted: Fitted) -> bytes:
    """`{"last": state dict, "best_val": state dict}` as `torch.save` writes it."""
    models = {"last": fitted.last, "best_val": fitted.best_val}
    return packed({name: model.state_dict() for name, model in models.items() if model})


def pack_predictions(y: Tensor, outputs: dict[str, list[Tensor]], softmax: bool, truth: Tensor | None) -> bytes:
    """The outputs of each selection, batch by batch, as a compressed `.npz`.

    Of values what was predicted, and what they are without noise where that is known; of classes which, and with a softmax
    the probabilities, in half precision.
    """
    values = word_of(y) == "values"
    arrays = {"labels": y.cpu().numpy() if values else _small(y)}
    if truth is not None:
        arrays["truth"] = truth.cpu().numpy()
    for name, parts in outputs.items():
        whole = torch.cat(parts)
        arrays[f"predicted_{name}"] = whole.cpu().numpy() if values else _small(whole.argmax(1))
        if softmax:
            arrays[f"probabilities_{name}"] = whole.softmax(1).half().cpu().numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def packed(value: Any) -> bytes:
    """What `torch.save` makes of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _small(classes: Tensor) -> np.ndarray:
    return classes.cpu().numpy().astype(np.uint8 if int(classes.max()) < 256 else np.uint32)
