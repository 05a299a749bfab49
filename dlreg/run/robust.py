"""The error of a fitted model under attack, on a split: the worst per image, up a ladder of attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlreg.attack.base import Ascent
from dlreg.attack.ladder import Attack
from dlreg.config.build import build
from dlreg.config.schema import Settings
from dlreg.context import derive_seed
from dlreg.data.base import Data, Split
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.passes import as_it_predicts, device_of
from dlreg.run.machine import autocast

BATCH = 500
MUCH = 0.01  # of the samples: what PGD alone may do less than one step, by chance and on flat ground


@dataclass
class Attacker:
    """One run's attack, on the loss that was trained."""

    attack: Attack
    criterion: Callable[..., Tensor]  # (outputs, targets, reduction="mean")
    seed: int
    cast: AbstractContextManager[Any]

    @classmethod
    def of(cls, settings: Settings, criterion: Callable[..., Tensor]) -> Attacker:
        """The one that the settings name."""
        return cls(build("attack", settings.attack), criterion, settings.seed, autocast(settings))

    def errors(self, model: nn.Module, split: Split) -> tuple[dict[str, float | None], list[str]]:
        """(column -> error as a fraction, remarks). Predictions are made anew on every attacked image."""
        if not self.attack.rungs:
            return {}, []
        device = device_of(model)
        generator = torch.Generator(device).manual_seed(derive_seed(self.seed, "attack"))
        found = [
            self._climb(model, to_unit(x.to(device)), y.to(device), generator)
            for x, y in zip(split.x.split(BATCH), split.y.split(BATCH), strict=True)
        ]
        clean, alone, *rungs = (int(torch.stack(column).sum()) / len(split) for column in zip(*found, strict=True))
        columns: dict[str, float | None] = dict(zip(self.attack.rungs, rungs, strict=True))
        return columns, _remarks(clean, alone, columns, split)

    def _climb(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> list[Tensor]:
        """How many are wrong: as they are, under the last kind of attack alone (its first run), and on each rung."""
        with as_it_predicts(model):
            clean = wrong = alone = self._wrong(model, x, y)
            counts: list[Tensor] = []
            for ascents in self.attack.rungs.values():
                for i, ascent in enumerate(ascents):
                    first = i == 0 and not counts[1:]
                    of = ~clean if first else ~wrong
                    broken = self._broken(model, ascent, (x, y, of), generator)
                    alone = clean | broken if first else alone
                    wrong = wrong | broken
                counts.append(wrong.sum())
        return [clean.sum(), alone.sum(), *counts]

    def _broken(
        self, model: nn.Module, ascent: Ascent, samples: tuple[Tensor, Tensor, Tensor], generator: torch.Generator
    ) -> Tensor:
        x, y, of = samples
        broken = torch.zeros_like(of)
        if bool(of.any()):
            attacked = ascent(
                lambda x: self.criterion(self._outputs(model, x), y[of], reduction="sum"), x[of], generator
            )
            broken[of] = self._wrong(model, attacked, y[of])
        return broken

    @torch.no_grad()
    def _wrong(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return self._outputs(model, x).argmax(1) != y

    def _outputs(self, model: nn.Module, x: Tensor) -> Tensor:
        with self.cast:
            outputs = model(x)
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


def under_attack(node: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Of the metrics of a run with this attack: `fgsm`, `pgd`, `robust`, the rungs of its ladder, and the errors there."""
    try:
        rungs = build("attack", node).rungs
    except UserError:  # of somebody's own, whose code is not there any more
        return {}
    return {rung.removesuffix("_error"): metrics[rung] for rung in rungs if rung in metrics}


def check_attack(settings: Settings, data: Data) -> None:
    """Refuse an attack that these data cannot bear.

    Raises:
        UserError: they have values, or images outside [0, 1].
    """
    name = settings.attack["name"]
    if name == "none":
        return
    if data.task.word == "values":
        raise UserError(
            f"attack={name} counts errors of classes, and data={settings.data['name']} has values; give none"
        )
    low, high = (float(end) for end in to_unit(data.train.x).aminmax())
    if len(data.shape) == 3 and not 0 <= low <= high <= 1:
        raise UserError(f"attack={name} needs images with values from 0 to 1, and these run from {low:g} to {high:g}")


def _remarks(clean: float, alone: float, columns: dict[str, float | None], split: Split) -> list[str]:
    """What the ladder gives away."""
    fgsm, last = columns["fgsm_error"] or 0.0, list(columns.values())[-1] or 0.0
    chance = 1 / (int(split.y.max()) + 1)
    found = []
    if 1 - last < chance < 1 - clean:
        found.append(
            f"under attack accuracy falls below chance: {1 - clean:.1%} without, {1 - fgsm:.1%} after one step, {1 - last:.1%} "
            f"after the last ({len(split):,} samples)"
        )
    if "pgd_error" in columns and alone < fgsm - MUCH:
        found.append(
            f"gradients may be masked: PGD alone errs on {alone:.1%}, one step of eps on {fgsm:.1%} ({len(split):,} samples)"
        )
    return found
