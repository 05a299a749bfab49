"""The interface: the eight moments of training at which a technique may act, in the order training reaches them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.context import Context
from dlreg.data.base import Data
from dlreg.errors import UserError

History = list[dict[str, Any]]


@dataclass
class Fitted:
    """What one fit returns: the model as `finish` left it, and the weights of the epoch with the lowest val error."""

    last: nn.Module
    best_val: nn.Module | None  # None without a validation set
    history: History
    steps_per_epoch: int = 0
    saw_val: bool = False  # it trained on the validation set, which measures nothing any more
    remarks: list[str] = field(default_factory=list)  # what a technique's `train` has to say
    criterion: Callable[..., Tensor] = F.cross_entropy  # its loss: (outputs, targets, reduction="mean")


# fit(data) trains one model from scratch. Keyword arguments change that: `seed` (another one than the run's), `start` (the
# state dict to begin with), `steps` (stop after so many updates), `note` (what the fit's parts find in `context.note`).
Fit = Callable[..., Fitted]


class Regularizer:
    """A modification of training meant to reduce generalization error. Every verb does nothing unless overridden.

    `__init__` stores hyperparameters only. Whatever changes during a fit lives in `self.state`, created in `setup`:
    tensors, numbers, strings and containers of them, because that dict is what a checkpoint holds.
    """

    revision: ClassVar[int] = 1  # raised when the same settings come to mean something else: such runs are then others
    stream: ClassVar[str] = "noise"  # the family of random numbers it draws from
    needs_validation: ClassVar[bool] = False  # it chooses by the validation set
    needs_classes: ClassVar[bool] = False  # it means nothing where targets are values
    needs_gradient: ClassVar[bool] = True  # its `gradient`, if it has one, would be missed where no gradient is taken
    rank: ClassVar[int] = (
        0  # of its `project`: 0 changes the weights, 1 then constrains them, 2 looks at what has come out
    )
    sets_up_first: ClassVar[bool] = False  # its `setup` takes the network as the model's option made it
    needs_unit: ClassVar[bool] = False  # it takes images for values in [0, 1], and would cut off what lies outside
    makes_committee: bool = False  # its fit returns several models that predict together
    needs_strides: bool = False  # what it does after a step goes by how far that moves a weight per unit of gradient
    goes_on: bool = False  # it trains on from the weights of a fit, which must be one model's
    name = "regularizer"
    context: Context
    state: dict[str, Any]

    def begin(self, name: str, context: Context) -> None:
        """Called by the fit before `setup`: the option's word, and the fit it acts in."""
        self.name, self.context, self.state = name, context, {}

    @property
    def generator(self) -> torch.Generator:
        """This technique's own random numbers; no other technique's draws depend on how many it takes."""
        return self.context.generator(f"{self.stream}/{self.name}")

    def remark(self) -> str | None:
        """After a fit: one line if the technique found nothing to act on, so that no row is a silent no-op."""
        return None

    def squares(self, model: nn.Module) -> list[tuple[float, nn.Parameter]] | None:
        """(alpha, w) of every (alpha / 2) sum w^2, if such penalties are all that it does: then there is a closed form."""
        return None

    @property
    def decides(self) -> bool:
        """Whether `finish` will put other weights in the place of the last ones. Of several, the option listed last does."""
        return False

    def train(self, fit: Fit, data: Data) -> Fitted:
        """Once per experiment, around everything else."""
        return fit(data)

    def setup(self, model: nn.Module) -> nn.Module:
        """Once per fit, before the optimizer exists."""
        return model

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Each step, before the forward pass: x `(N, ...)` in [0, 1], y class probabilities or values `(N, K)`."""
        return x, y

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """Each forward pass: what is added to the loss."""
        return 0.0

    def gradient(self, model: nn.Module) -> None:
        """Between backward and step: change `p.grad` in place."""

    def project(self, model: nn.Module) -> None:
        """After the step: change the weights in place."""

    def end_epoch(self, model: nn.Module, history: History) -> bool:
        """After each epoch's validation; True stops training."""
        return False

    def finish(self, model: nn.Module) -> nn.Module:
        """Once per fit, last: the model to report."""
        return model


class Chain(Regularizer):
    """Several regularizers as one: each verb runs through them in order, and `train` nests, the first outermost."""

    def __init__(self, parts: Mapping[str, Regularizer]) -> None:
        self.parts = dict(parts)
        # A verb that no part overrides costs nothing in the loop.
        self._acting = {
            verb: [part for part in self.parts.values() if getattr(type(part), verb) is not getattr(Regularizer, verb)]
            for verb in ("batch", "penalty", "gradient", "project", "end_epoch")
        }
        self._acting["project"].sort(key=lambda part: part.rank)
        self._unheard: list[str] = []

    def begin(self, name: str, context: Context) -> None:
        """Begin every part under its own word."""
        super().begin(name, context)
        for word, part in self.parts.items():
            part.begin(word, context)

    @property
    def states(self) -> dict[str, dict[str, Any]]:
        """Every part's state, for a checkpoint."""
        return {word: part.state for word, part in self.parts.items()}

    @states.setter
    def states(self, saved: dict[str, dict[str, Any]]) -> None:
        for word, part in self.parts.items():
            part.state = saved[word]

    def remarks(self) -> list[str]:
        """What the parts have to say after a fit."""
        return [text for part in self.parts.values() if (text := part.remark())] + self._unheard

    @property
    def penalties(self) -> list[Regularizer]:
        """The parts that may add something to the loss."""
        return self._acting["penalty"]

    def missed(self, order: int) -> list[str]:
        """The parts that an optimizer leaves without effect if the derivatives it takes are of this order."""
        return [] if order else [part.name for part in self._acting["gradient"] if part.needs_gradient]

    def train(self, fit: Fit, data: Data) -> Fitted:
        """part_1.train(part_2.train(... fit))."""
        for part in reversed(self.parts.values()):
            fit = _nested(part, fit)
        return fit(data)

    def setup(self, model: nn.Module) -> nn.Module:
        """Each in order, after those that come first."""
        for part in sorted(self.parts.values(), key=lambda part: not part.sets_up_first):
            model = _module(part, "setup", part.setup(model))
        return model

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Each in order."""
        for part in self._acting["batch"]:
            x, y = part.batch(model, x, y)
        return x, y

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """The sum."""
        return sum((part.penalty(model, x, y, logits) for part in self._acting["penalty"]), 0.0)

    def gradient(self, model: nn.Module) -> None:
        """Each in order."""
        for part in self._acting["gradient"]:
            part.gradient(model)

    def project(self, model: nn.Module) -> None:
        """Each by its rank, and in order."""
        for part in self._acting["project"]:
            part.project(model)

    def end_epoch(self, model: nn.Module, history: History) -> bool:
        """Stop if any says so; every part hears of every epoch."""
        return any([part.end_epoch(model, history) for part in self._acting["end_epoch"]])

    def finish(self, model: nn.Module) -> nn.Module:
        """One decides the weights, the last listed of those that would; then the others, in order."""
        deciders = [part for part in self.parts.values() if part.decides]
        for part in [*deciders[-1:], *(part for part in self.parts.values() if part not in deciders)]:
            model = _module(part, "finish", part.finish(model))
        self._unheard = [
            f"{part.name} did not decide the final weights: {deciders[-1].name} is listed after it"
            for part in deciders[:-1]
        ]
        return model


def _module(part: Regularizer, verb: str, found: nn.Module) -> nn.Module:
    if not isinstance(found, nn.Module):  # a technique of somebody's own
        raise UserError(f"{part.name}.{verb} must return the model; it returned {type(found).__name__}")
    return found


def _nested(part: Regularizer, fit: Fit) -> Fit:
    def outer(data: Data, **options: Any) -> Fitted:
        return part.train(functools.partial(fit, **options), data)

    return outer
