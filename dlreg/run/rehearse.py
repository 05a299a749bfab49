"""The experiment on a handful of samples, thrown away: what cannot work is found before a run begins."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import torch

from dlreg.config.build import plugins
from dlreg.config.contract import reason
from dlreg.config.schema import Settings
from dlreg.context import Context
from dlreg.data.base import Data
from dlreg.data.task import Values
from dlreg.errors import Diverged, UserError
from dlreg.model.blocks import NORM_LAYERS
from dlreg.reg.base import Chain, Fitted
from dlreg.run.linear import check_linear
from dlreg.run.loop import Nobody, fit
from dlreg.run.memory import check_memory
from dlreg.run.parts import make_chain, make_loop, make_parts
from dlreg.run.pretrain import Pretrainer
from dlreg.run.robust import Attacker, check_attack
from dlreg.run.step import Parts
from dlreg.run.tracking import make_trackers
from dlreg.run.witness import witnessed

EPOCHS = 2  # the second is the later half of training, when some techniques begin
SAMPLES = 2
WRONG = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NameError, AssertionError,
)  # fmt: skip


def rehearse(settings: Settings, data: Data) -> None:
    """Run the whole experiment, `train` included, for two epochs of two samples: what cannot work is found here.

    Raises:
        UserError: naming what does not fit together.
    """
    make_trackers(settings)
    few = torch.arange(SAMPLES, device=data.train.y.device)
    train, val = (split[few[: len(split)]] for split in (data.train, data.val))
    try:
        chain = make_chain(settings)
        chain.begin("chain", Context(settings.seed, torch.device(settings.device)))
        _check_chain(chain, data)
        check_memory(chain, settings, len(data.train))
        check_attack(settings, data)
        fitted = chain.train(Trial(settings, len(data.train)), dataclasses.replace(data, train=train, val=val))
        Attacker.of(settings, fitted.criterion).errors(fitted.last, train)
    except Diverged:
        return  # on two samples, which says nothing of the run
    except WRONG as error:
        if os.environ.get("DLREG_DEBUG"):
            raise
        why = reason(error, plugins())
        raise UserError(
            f"these options do not work together: {why} (a sample has the shape {data.shape}; DLREG_DEBUG=1 shows where)"
        ) from error


class Trial:
    """`fit(data)` in a rehearsal: fits of one kind, as a committee's are, are made once."""

    def __init__(self, settings: Settings, n: int) -> None:
        self.settings, self.n = settings, n
        self.fitted: dict[tuple[bool, ...], Fitted] = {}

    def __call__(self, data: Data, **options: Any) -> Fitted:
        """A model trained on `data`. The keyword arguments are those of `dlreg.reg.base.Fit`."""
        kind = (len(data.val) > 0, *(options.get(word) is None for word in ("start", "steps", "note")))
        if kind not in self.fitted:
            self.fitted[kind] = self._fit(data, options.get("start"), options.get("note"))
        found = self.fitted[kind]
        return dataclasses.replace(found, history=[dict(row) for row in found.history], remarks=[])

    def _fit(self, data: Data, start: dict[str, torch.Tensor] | None, note: dict[str, Any] | None) -> Fitted:
        first = Pretrainer(
            self.settings, dataclasses.replace(data, pool=None), self.settings.seed, Nobody(), lambda *_: Nobody()
        )
        parts = make_parts(self.settings, data, self.settings.seed, first)
        parts.context.note, parts.context.rehearsal = note or {}, True
        _check_parts(parts, self.settings, self.n)
        witnessed(parts, self.settings.model["name"], data.classes)
        if start is not None:
            parts.model.load_state_dict(start)
        loop = dataclasses.replace(make_loop(self.settings, len(data.train)), epochs=EPOCHS)
        return fit(parts, data, loop, Nobody(), Nobody())


def _check_chain(chain: Chain, data: Data) -> None:
    parts = list(chain.parts.values())
    low, high = (float(end) for end in data.train.x.aminmax()) if data.train.x.is_floating_point() else (0.0, 1.0)
    for i, part in enumerate(parts):
        if part.needs_unit and len(data.shape) == 3 and not 0 <= low <= high <= 1:
            raise UserError(f"{part.name} needs images with values from 0 to 1, and these run from {low:g} to {high:g}")
        if part.needs_classes and data.task.word == "values":
            raise UserError(
                f"{part.name} changes the probabilities of classes, and this data set has values: leave it out"
            )
        if part.needs_validation and not len(data.val):
            raise UserError(f"{part.name} chooses by the validation set, but data.val_size=0 leaves none")
        inner = next((p.name for p in parts[i + 1 :] if p.makes_committee), None)
        if part.goes_on and inner:
            raise UserError(
                f"reg=[{part.name},{inner}] would train on from the weights of several models; list {part.name} after {inner}"
            )


def _check_parts(parts: Parts, settings: Settings, n: int) -> None:
    name = settings.optimizer["name"]
    if any("lr" not in group for group in parts.optimizer.param_groups):
        raise UserError(f"optimizer={name} keeps no lr, which schedules set: super().__init__(params, {{'lr': lr}})")
    if settings.batch_size == 1 and any(isinstance(m, NORM_LAYERS[:2]) for m in parts.model.modules()):
        raise UserError("batch_size=1 does not work with norm=batch: a batch of one has no variance")
    if missed := parts.reg.missed(getattr(parts.optimizer, "order", 1)):
        raise UserError(
            f"reg={missed[0]} acts on gradients, and optimizer={name} takes none: leave it out, or take another optimizer"
        )
    thresholds = next((part.name for part in parts.reg.parts.values() if part.needs_strides), None)
    if thresholds and parts.context.strides is None:
        raise UserError(
            f"reg.{thresholds}.form=proximal thresholds each weight by its step per unit of gradient, and optimizer={name} "
            "takes no such steps: give form=subgradient"
        )
    if settings.sampler == "balanced" and parts.missed is Values.missed:
        raise UserError(
            "sampler=balanced draws every class equally often, and this data set has values; give shuffle or random"
        )
    if hasattr(parts.optimizer, "problem"):
        check_linear(parts, name, n)
    if not getattr(parts.optimizer, "full_batch", False):
        return
    why = f"optimizer={name} needs the same loss in every step, that of the whole training set"
    if settings.batch_size != "full" and settings.batch_size < n:
        raise UserError(f"batch_size={settings.batch_size} does not work: {why}; give batch_size=full")
    if settings.sampler in ("random", "balanced"):
        raise UserError(f"sampler={settings.sampler} draws with replacement: {why}; give sampler=shuffle or cyclic")
