"""How many CPU threads a run gets when nobody says: by the work of a step, never by the load of the machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.config.schema import Settings
from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.model.blocks import weight_layers
from dlreg.run.parts import make_model

MACHINE = torch.get_num_threads()  # as many as torch would take; less where processes divide the machine
SHARE = 32e6  # multiply-adds of a forward pass that a thread must have: with less, waiting for each other takes longer


def set_threads(settings: Settings, data: Data) -> None:
    """The threads that the settings ask for; `auto`: one for every `SHARE` of a step's work, and all beside a GPU."""
    threads = settings.threads
    if threads == "auto":
        threads = MACHINE if settings.device != "cpu" else _worth(settings, data)
    torch.set_num_threads(threads)


def limit(threads: int) -> None:
    """This process has so many of the machine's cores to itself: `auto` takes no more."""
    global MACHINE
    MACHINE = threads


def _worth(settings: Settings, data: Data) -> int:
    batch = len(data.train) if settings.batch_size == "full" else settings.batch_size
    work = min(batch, len(data.train)) * multiply_adds(make_model(settings, data, settings.seed), data.train.x[:1])
    return max(1, min(MACHINE, round(work / SHARE)))


@torch.no_grad()
def multiply_adds(model: nn.Module, sample: Tensor) -> int:
    """Of one sample's way through the linear and convolutional layers: each weight as often as there are places."""
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(weight.numel() * output.numel() // len(weight))

    hooks = [layer.register_forward_hook(count) for layer in weight_layers(model)]
    if hooks:
        model.eval()(to_unit(sample))
    for hook in hooks:
        hook.remove()
    return sum(counts)
