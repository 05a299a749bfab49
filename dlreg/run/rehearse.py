"""One update on two samples, thrown away: what cannot work is found before a run begins."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from dlreg.config.schema import Settings
from dlreg.context import Progress
from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import NORM_LAYERS
from dlreg.reg.base import Regularizer
from dlreg.run.evaluate import evaluate
from dlreg.run.loop import train_step
from dlreg.run.parts import make_parts, make_schedule


def rehearse(settings: Settings, data: Data) -> None:
    """Build everything and make one update on two samples, then throw it away: what cannot work is found here.

    Raises:
        UserError: naming what does not fit together.
    """
    few = torch.arange(min(2, len(data.train)))
    try:
        parts = make_parts(settings, data, settings.seed)
        model, reg, context = parts.model, parts.reg, parts.context
        if settings.batch_size == 1 and any(isinstance(m, NORM_LAYERS[:2]) for m in model.modules()):
            raise UserError("batch_size=1 does not work with norm=batch: a batch of one has no variance")
        blind = [p.name for p in reg.parts.values() if p.needs_validation and not len(data.val)]
        if blind:
            raise UserError(f"{blind[0]} chooses by the validation set, but data.val_size=0 leaves none")
        _check_order(list(reg.parts.values()))
        make_schedule(settings)(Progress(0, 1, 1, () if len(data.val) else None))
        if getattr(parts.optimizer, "full_batch", False):
            _needs_full_batch(settings, len(data.train))
        context.begin_epoch(0)
        model.train()
        sample = data.train[few.to(context.device)]
        x, y = to_unit(sample.x), torch.eye(data.classes, device=context.device)[sample.y]
        train_step(parts, x, y)
        evaluate(model, sample)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        if os.environ.get("DLREG_DEBUG"):
            raise
        first = str(error).strip().split("\n")[0]
        raise UserError(
            f"these options do not work together: {first} (a sample has the shape {data.shape}; DLREG_DEBUG=1 shows where)"
        ) from error


def _check_order(parts: Sequence[Regularizer]) -> None:
    for i, part in enumerate(parts):
        inner = next((p.name for p in parts[i + 1 :] if p.makes_committee), None)
        if part.goes_on and inner:
            raise UserError(
                f"reg=[{part.name},{inner}] would train on from the weights of several models; list {part.name} after {inner}"
            )


def _needs_full_batch(settings: Settings, n: int) -> None:
    name = settings.optimizer["name"]
    why = f"optimizer={name} needs the same loss in every step, that of the whole training set"
    if settings.batch_size != "full" and settings.batch_size < n:
        raise UserError(f"batch_size={settings.batch_size} does not work: {why}; give batch_size=full")
    if settings.sampler in ("random", "balanced"):
        raise UserError(f"sampler={settings.sampler} draws with replacement: {why}; give sampler=shuffle or cyclic")
