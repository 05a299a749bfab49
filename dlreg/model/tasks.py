"""A network that answers several questions: what is asked, and by which head."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.model.blocks import weight_layers

Task = Literal["parity", "rotation"]
TURNS = 4


class Question(NamedTuple):
    """Samples `(N, ...)`, class probabilities `(N, K)` and random numbers -> samples, targets `(N, outputs)`."""

    outputs: int
    ask: Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def parity(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Whether the number of the class is even or odd."""
    return x, torch.stack([y[:, ::2].sum(1), y[:, 1::2].sum(1)], 1)


def rotation(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """By which of four turns each image was turned, drawn anew."""
    drawn = torch.randint(TURNS, (len(x),), generator=generator, device=x.device)
    turned = torch.stack([x.rot90(k, (2, 3)) for k in range(TURNS)])
    targets = torch.eye(TURNS, dtype=y.dtype, device=y.device)[drawn]
    return turned[drawn, torch.arange(len(x), device=x.device)], targets


QUESTIONS: Mapping[Task, Question] = {"parity": Question(2, parity), "rotation": Question(TURNS, rotation)}


class Tasks(nn.Sequential):
    """The model as it was, with linear heads for other tasks on what its own head is given (hard sharing), or on what a
    trunk of their own, a copy, makes of the input (soft sharing).

    Heads and trunks are known by their weights alone, which are the model's: whoever looks for layers finds those of the
    first task, whose last one is its head.
    """

    def __init__(self, model: nn.Module, tasks: list[Task], soft: bool, generator: torch.Generator) -> None:
        super().__init__(OrderedDict(model.named_children()))
        last = weight_layers(model)[-1]
        if not isinstance(last, nn.Linear):
            raise UserError("several tasks need a network with a linear head")
        self.head = next(name for name, module in model.named_modules() if module is last)
        self.tasks, self.trunks = tasks, dict[str, nn.Module]()
        for task in tasks:
            limit = 1 / math.sqrt(last.in_features)
            for name, shape in (
                ("weight", (QUESTIONS[task].outputs, last.in_features)),
                ("bias", (QUESTIONS[task].outputs,)),
            ):
                drawn = last.weight.new_empty(shape).uniform_(-limit, limit, generator=generator)
                self.register_parameter(f"{task}_{name}", nn.Parameter(drawn))
            if soft:
                self._add_trunk(task)

    def _add_trunk(self, task: Task) -> None:
        trunk = copy.deepcopy(nn.Sequential(OrderedDict(self.named_children())))
        trunk.set_submodule(self.head, nn.Identity())
        for name, parameter in trunk.named_parameters():
            self.register_parameter(f"{task}_{name.replace('.', '_')}", parameter)
        for name, buffer in trunk.named_buffers():
            self.register_buffer(f"{task}_{name.replace('.', '_')}", buffer)
        self.trunks[task] = trunk

    def answer(self, task: Task, x: Tensor) -> Tensor:
        """(N, ...) -> logits of the task."""
        features = self.trunks[task].train(self.training)(x) if task in self.trunks else self._features(x)
        return F.linear(features, getattr(self, f"{task}_weight"), getattr(self, f"{task}_bias"))

    def _features(self, x: Tensor) -> Tensor:
        """What the head of the first task is given."""
        found: list[Tensor] = []
        hook = self.get_submodule(self.head).register_forward_pre_hook(lambda module, given: found.append(given[0]))
        try:
            self(x)
        finally:
            hook.remove()
        return found[0]
