"""A copy of a fit to look into: whatever is done with it leaves no trace in the fit itself."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace

import torch

from dlreg.config.schema import Settings
from dlreg.data.base import Data
from dlreg.run.batches import batches, gathered
from dlreg.run.layers import BATCH, Layer, acting_weights, layers
from dlreg.run.loop import Loop, equip
from dlreg.run.parts import make_parts
from dlreg.run.step import Parts, train_step


@dataclass(frozen=True, eq=False)
class Twin:
    """Parts of its own, made as a fit that goes on makes them, and filled with the state of the fit in hand when it is asked.

    Nothing of the fit is touched: no random number of its streams is drawn, no module changes its mode, no running
    moment moves.
    """

    settings: Settings
    data: Data
    loop: Loop
    fit: Parts

    def layers(self) -> list[Layer]:
        """The layers on a batch of training samples, and what another step like the last one would change of each."""
        device = self.fit.context.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            parts = self._parts
            self._follow(parts)
            few = self.data.train[torch.arange(min(BATCH, len(self.data.train)), device=device)]
            found = layers(parts.model, few, parts.criterion)
            before = acting_weights(parts.model)
            self._step(parts)
            after = acting_weights(parts.model)
        changes = {name: float((after[name] - before[name]).norm()) for name in before}
        return [replace(layer, update=changes.get(layer.name)) for layer in found]

    @functools.cached_property
    def _parts(self) -> Parts:
        parts = make_parts(self.settings, self.data, self.fit.context.seed)
        parts.context.note = self.fit.context.note
        equip(parts, self.data, self.loop)
        return parts

    def _follow(self, parts: Parts) -> None:
        """To where the fit stands after an epoch; in copies, for an optimizer keeps the tensors that it is given."""
        fit, epoch = self.fit, int(self.fit.context.progress.epoch)
        parts.model.load_state_dict(fit.model.state_dict())
        parts.optimizer.load_state_dict(copy.deepcopy(fit.optimizer.state_dict()))
        parts.reg.states = copy.deepcopy(fit.reg.states)
        parts.context.begin_epoch(epoch)
        parts.context.progress, parts.context.lr = fit.context.progress, fit.context.lr

    def _step(self, parts: Parts) -> None:
        index = next(batches(self.loop.sampler, self.data.train.y, self.loop.batch_size, parts.context))
        parts.model.train()
        train_step(parts, *next(gathered(self.data, [index])))
