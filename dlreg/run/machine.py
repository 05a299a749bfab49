"""What settings mean on this machine: the device, the arithmetic, the threads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from dlreg.config.schema import Settings
from dlreg.errors import UserError


def resolve(settings: Settings) -> Settings:
    """Replace what `auto` stands for on this machine, so that the config of a run says what was done.

    Raises:
        UserError: the device asked for is not there.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    index = int(device.split(":")[1]) if ":" in device else 0
    if not there[kind] or (kind == "cuda" and index >= torch.cuda.device_count()):
        here = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"device={settings.device} is not available; this machine has {here}")
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "fp64" and kind == "mps":
        raise UserError("precision=fp64 is not available on mps; give fp32, or device=cpu")
    return settings.model_copy(update={"device": device, "precision": precision})


def autocast(settings: Settings) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic where torch holds it safe, or nothing."""
    if settings.precision == "bf16":
        return torch.autocast(settings.device.split(":")[0], torch.bfloat16)
    return nullcontext()
