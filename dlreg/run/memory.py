"""Models that keep their training samples: what they are given, and what means nothing beside them."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from dlreg.config.build import locate
from dlreg.config.schema import Settings
from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.memory import Memory
from dlreg.passes import as_it_predicts
from dlreg.reg.base import Chain, Regularizer
from dlreg.run.evaluate import EVAL_BATCH

STEPS = ("setup", "batch", "penalty", "gradient", "project", "end_epoch", "finish")  # the verbs of training a model


@torch.no_grad()
def remember(model: nn.Module, data: Data) -> None:
    """Give a model that keeps its training samples these, as its normalization hands them on."""
    keeper = model.get_submodule("net")
    if not isinstance(keeper, Memory):
        return
    first = model.get_submodule("input")
    with as_it_predicts(model):
        x = torch.cat([first(to_unit(part)) for part in data.train.x.split(EVAL_BATCH)])
        keeper.remember(x, data.task.targets(data.train.y), data.task.word == "classes")


def check_memory(chain: Chain, settings: Settings, n: int) -> None:
    """Refuse, of n samples, more neighbours than there are, and beside a model without training what acts on it or needs it.

    Raises:
        UserError: naming it.
    """
    kind = locate("model", settings.model)
    if not (inspect.isclass(kind) and issubclass(kind, Memory)):
        return
    name, attack, k = settings.model["name"], settings.attack["name"], settings.model.get("k", 1)
    if attack != "none":
        raise UserError(f"attack={attack} follows the gradient of the loss, and model={name} has none; give none")
    if k > n:
        raise UserError(f"model.k={k} asks for more neighbours than the {n} training samples")
    for part in chain.parts.values():
        if any(getattr(type(part), verb) is not getattr(Regularizer, verb) for verb in STEPS):
            raise UserError(f"{part.name} acts while a model is trained, and model={name} is not: leave it out")
