"""Passes through a network besides the one that trains it: as it predicts, and with its running moments held."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies, which need not have a weight."""
    return next(itertools.chain(model.parameters(), model.buffers())).device


@contextmanager
def as_it_predicts(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, and every module back in its own mode afterwards: nothing is drawn, no running moment moves."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Normalize by the batch, but let running moments be: passes at trial weights must not leave a trace in them."""
    tracking: list[Any] = [m for m in model.modules() if getattr(m, "track_running_stats", False)]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
