"""What an optimizer that solves in closed form must be given, and what it cannot solve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import weight_layers
from dlreg.optimizer.closed_form import Problem
from dlreg.run.step import Parts


@torch.no_grad()
def linear_problem(parts: Parts, data: Data) -> Problem:
    """The one trained layer, its inputs on the whole training set, the targets, and the strength of an L2 penalty on it."""
    (layer,) = weight_layers(parts.model)
    assert isinstance(layer, nn.Linear) and isinstance(layer.weight, nn.Parameter)
    inputs: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    try:
        parts.model(to_unit(data.train.x))
    finally:
        hook.remove()
    terms = [term for part in parts.reg.parts.values() for term in part.squares(parts.model) or []]
    alpha = sum(strength for strength, parameter in terms if parameter is layer.weight)
    return Problem(layer.weight, layer.bias, inputs[0], data.task.targets(data.train.y), alpha)


def check_linear(parts: Parts, name: str) -> None:
    """Refuse, for `optimizer=name`, what is not least squares on a linear model with at most a ridge penalty.

    Raises:
        UserError: naming what is in the way.
    """
    layers = weight_layers(parts.model)
    trained = {p for p in parts.model.parameters() if p.requires_grad}
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear) or trained != set(layers[0].parameters()):
        raise UserError(
            f"optimizer={name} needs a model that is linear in its weights: linear, polynomial, random_features or rbf"
        )
    if not getattr(parts.criterion, "squares", False) or getattr(parts.criterion, "weights", None) is not None:
        raise UserError(f"optimizer={name} minimizes squares, every sample alike: give loss=mse loss.class_weight=none")
    ridge = getattr(parts.optimizer, "ridge", False)
    for part in parts.reg.parts.values():
        terms = part.squares(parts.model)
        if not ridge or terms is None or any(parameter is layers[0].bias for _, parameter in terms):
            can = "of the regularizers only l2, on weights" if ridge else "no regularizer"
            raise UserError(f"optimizer={name} solves in closed form and takes {can}; leave out {part.name}")
