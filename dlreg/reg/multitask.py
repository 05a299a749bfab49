"""Several tasks at once: a network that must also tell something else cannot remember as it likes."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import NonNegative
from dlreg.model.blocks import acting, plain_name, weight_layers
from dlreg.model.tasks import QUESTIONS, Task, Tasks
from dlreg.passes import frozen_statistics
from dlreg.reg.base import Regularizer
from dlreg.reg.penalties import half_squares


class MultiTask(Regularizer):
    """$$loss + sum_t weight_t L_t; L_t = - mean sum_k y_k log p_k$$ of other tasks t that share the network with the classes.

    Caruana (1997), https://doi.org/10.1023/A:1007379606734; Goodfellow et al. (2016), section 7.7,
    https://www.deeplearningbook.org/contents/regularization.html. `tasks` are `parity` (whether the number of the class is
    even or odd) and `rotation` (by which multiple of 90 degrees, drawn for each image anew, it was turned: Gidaris, Singh,
    Komodakis 2018, https://arxiv.org/abs/1803.07728, where all four turns of an image stand in a batch), each with its
    weight beside the 1 of the classes. `sharing=hard`: all layers but the last are one, each task has a linear head.
    `sharing=soft`: each task has layers of its own, which begin as copies, and $(tie / 2) ||w - w_t||^2$ draws them to those
    of the first (Duong, Cohn, Bird, Cook 2015, https://aclanthology.org/P15-2139). Techniques inside layers, such as
    dropout, act in those of the first task only. The errors of each task stand beside those of the classes
    (`--columns test_error,parity_error`), those of a committee by what its members say together. A step costs a pass for each
    task; running moments of shared layers follow the first.
    """

    needs_classes = True
    sets_up_first = True

    def __init__(
        self,
        *,
        tasks: Annotated[list[Task], Field(min_length=1)],
        weights: Annotated[list[NonNegative], Field(min_length=1)],
        sharing: Literal["hard", "soft"],
        tie: NonNegative,
    ) -> None:
        self.tasks, self.weights, self.sharing, self.tie = tasks, weights, sharing, tie

    @property
    def asked(self) -> dict[Task, float]:
        """The tasks that weigh something."""
        return {task: weight for task, weight in zip(self.tasks, self.weights, strict=True) if weight}

    def setup(self, model: nn.Module) -> nn.Module:
        """Add the heads, and with soft sharing the layers before them."""
        if len(self.weights) != len(self.tasks) or len(set(self.tasks)) != len(self.tasks):
            raise UserError(
                f"reg.{self.name}.weights={self.weights} must be one for each of tasks=[{','.join(self.tasks)}], none twice"
            )
        shape = () if self.context.samples is None else tuple(self.context.samples.shape[1:])
        if "rotation" in self.asked and (len(shape) != 3 or shape[1] != shape[2]):
            raise UserError(f"reg.{self.name}.tasks: rotation needs square images; a sample has the shape {shape}")
        trained = any(layer.weight.requires_grad for layer in weight_layers(model)[:-1])
        self.shares = trained and (self.sharing == "hard" or self.tie > 0)
        return Tasks(model, list(self.asked), self.sharing == "soft", self.generator) if self.asked else model

    def remark(self) -> str | None:
        """When it adds nothing."""
        if not self.asked:
            return f"{self.name} has weight 0"
        return None if self.shares else f"{self.name} changed nothing: the tasks share no layer that is trained"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """The weighted losses of the other tasks, and the distances of their layers."""
        total: Tensor | float = 0.0
        for task, weight in self.asked.items():
            assert isinstance(model, Tasks)
            samples, targets = QUESTIONS[task].ask(x, y, self.generator)
            with self.context.aside(), frozen_statistics(model):
                outputs = model.answer(task, samples)
            total = total + weight * F.cross_entropy(outputs.to(targets.dtype), targets)
            if self.sharing == "soft" and self.tie:
                total = total + half_squares([(self.tie, a - b) for a, b in pairs(model, task)])
        return total


def pairs(model: Tasks, task: Task) -> list[tuple[Tensor, Tensor]]:
    """What the layers of the first task and those of another have in the same places."""
    first = {plain_name(w.name): w.value for w in acting(model)}
    return [(first[plain_name(w.name)], w.value) for w in acting(model.trunks[task])]
