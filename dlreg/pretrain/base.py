"""What is learnt before the labels: stages, each a fit of its own of modules that the network shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Natural, Positive
from dlreg.model.blocks import weight_layers
from dlreg.reg.base import Regularizer

Rate = Positive | None  # null: the optimizer's own


@dataclass
class Stage:
    """`module` is trained on the samples that `task.batch` makes of a batch, with the targets that it makes of nothing."""

    module: nn.Module
    task: Regularizer
    learns: Literal["values", "classes"]
    outputs: int


class Pretraining:
    """$$w_0 = the initial weights$$: nothing is learnt before the labels."""

    epochs: int = 0
    lr: float | None = None

    def stages(self, model: nn.Module, x: Tensor) -> Iterator[Stage]:
        """What to train, one after the other. `model` is `input` and `net`, x a few samples in [0, 1] that tell shapes."""
        yield from ()


class Unsupervised(Pretraining):
    """`epochs` of each stage, with the run's optimizer at the constant rate `lr`; 0 epochs leave the initial weights."""

    def __init__(self, *, epochs: Natural, lr: Rate) -> None:
        self.epochs, self.lr = epochs, lr


@contextmanager
def other_head(net: nn.Module, head: nn.Module) -> Iterator[None]:
    """The network with another module in the place of its last weight layer."""
    last = weight_layers(net)[-1]
    name = next(name for name, module in net.named_modules() if module is last)
    net.set_submodule(name, head)
    try:
        yield
    finally:
        net.set_submodule(name, last)


def hidden_layers(net: nn.Module, word: str) -> list[nn.Linear | nn.Conv2d]:
    """All weight layers but the last.

    Raises:
        UserError: there is none, so that nothing could be pretrained.
    """
    layers = weight_layers(net)[:-1]
    if not layers:
        raise UserError(f"pretrain={word} trains hidden layers, and this model has none")
    return layers


@torch.no_grad()
def width_of(module: nn.Module, x: Tensor) -> int:
    """How many numbers a module makes of a sample."""
    return module(x).flatten(1).shape[1]
