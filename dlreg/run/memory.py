"""Models that keep their training samples: what they are given, and what means nothing beside them."""

from __future__ import annotations

import torch
from torch import nn

from dlreg.config.schema import Settings
from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.memory import Memory
from dlreg.passes import as_it_predicts
from dlreg.reg.base import Regularizer
from dlreg.run.evaluate import EVAL_BATCH
from dlreg.run.step import Parts

STEPS = ("setup", "batch", "penalty", "gradient", "project", "end_epoch", "finish")  # the verbs of training a model


def memory(model: nn.Module) -> Memory | None:
    """The part of a fit's model that keeps samples, if it has one."""
    return next((module for module in model.modules() if isinstance(module, Memory)), None)


@torch.no_grad()
def remember(model: nn.Module, data: Data) -> None:
    """Give a model that keeps its training samples these, as its normalization hands them on."""
    keeper = memory(model)
    if keeper is None:
        return
    first = model.get_submodule("input")
    with as_it_predicts(model):
        x = torch.cat([first(to_unit(part)) for part in data.train.x.split(EVAL_BATCH)])
        keeper.remember(x, data.task.targets(data.train.y), data.task.word == "classes")


def check_memory(parts: Parts, settings: Settings, n: int) -> None:
    """Refuse, of n samples, more neighbours than there are, and beside a model without training what acts on it or needs it.

    Raises:
        UserError: naming it.
    """
    keeper = memory(parts.model)
    if keeper is None:
        return
    name, attack = settings.model["name"], settings.attack["name"]
    if attack != "none":
        raise UserError(f"attack={attack} follows the gradient of the loss, and model={name} has none; give none")
    if keeper.k > n:
        raise UserError(f"model.k={keeper.k} asks for more neighbours than the {n} training samples")
    for part in parts.reg.parts.values():
        if any(getattr(type(part), verb) is not getattr(Regularizer, verb) for verb in STEPS):
            raise UserError(f"{part.name} acts while a model is trained, and model={name} is not: leave it out")
