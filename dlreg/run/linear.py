"""Models that are linear in their weights: what a closed form must be given and cannot solve, and what is measured of a fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import weight_layers
from dlreg.optimizer.closed_form import Problem
from dlreg.run.evaluate import Criterion
from dlreg.run.result import Measures
from dlreg.run.step import Parts

LISTED = 1000  # coefficients in a result; of a larger model they lie in its weights


@torch.no_grad()
def linear_problem(parts: Parts, data: Data) -> Problem:
    """The one trained layer, its inputs on the whole training set, the targets, and the strength of an L2 penalty on it."""
    layer = linear_layer(parts.model)
    assert layer is not None and isinstance(layer.weight, nn.Parameter)
    terms = [term for part in parts.reg.parts.values() for term in part.squares(parts.model) or []]
    alpha = sum(strength for strength, parameter in terms if parameter is layer.weight)
    x = _inputs(layer, parts.model, data.train.x)
    return Problem(layer.weight, layer.bias, x, data.task.targets(data.train.y), alpha)


def linear_layer(model: nn.Module) -> nn.Linear | None:
    """The layer that holds every trained parameter of a model that is linear in them; None of another model."""
    layers = weight_layers(model)
    trained = {p for p in model.parameters() if p.requires_grad}
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear) or trained != set(layers[0].parameters()):
        return None
    return layers[0]


@torch.no_grad()
def measures(model: nn.Module, criterion: Criterion, x: Tensor) -> Measures:
    """What is told of a linear model that was fitted to squares on the samples x, in float64; nothing of another.

    `weight_norm` is ||w||_2 and `nonzeros` the number of weights that are not zero, both without biases. `condition` is the
    largest over the smallest singular value of the design [1, phi(x)] `(N, 1 + m)`, None if it has not full rank.
    `coefficients` are the bias and the weights in the order of the features, of one output and at most 1,000 of them.
    """
    layer = linear_layer(model)
    if layer is None or not getattr(criterion, "squares", False):
        return {}
    model.eval()
    weight, phi = layer.weight.double(), _inputs(layer, model, x).double()
    free = [] if layer.bias is None else [phi.new_ones(len(phi), 1)]
    s = torch.linalg.svdvals(torch.cat([*free, phi], 1))
    full = s[-1] > torch.finfo(s.dtype).eps * max(phi.shape) * s[0]
    found: Measures = {
        "weight_norm": float(weight.norm()),
        "nonzeros": int(weight.count_nonzero()),
        "condition": float(s[0] / s[-1]) if full else None,
    }
    if len(weight) == 1 and weight.numel() <= LISTED:
        bias = weight.new_zeros(1) if layer.bias is None else layer.bias.double()
        found["coefficients"] = torch.cat([bias, weight[0]]).tolist()
    return found


def _inputs(layer: nn.Linear, model: nn.Module, x: Tensor) -> Tensor:
    """What reaches the layer when the model is given the samples x."""
    inputs: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    try:
        model(to_unit(x))
    finally:
        hook.remove()
    return inputs[0]


def check_linear(parts: Parts, name: str, n: int) -> None:
    """Refuse, for `optimizer=name` and n samples, what is not least squares on a linear model with at most a ridge penalty.

    Raises:
        UserError: naming what is in the way.
    """
    layer = linear_layer(parts.model)
    if layer is None:
        raise UserError(
            f"optimizer={name} needs a model that is linear in its weights: linear, polynomial, random_features or rbf"
        )
    if not getattr(parts.criterion, "squares", False) or getattr(parts.criterion, "weights", None) is not None:
        raise UserError(f"optimizer={name} minimizes squares, every sample alike: give loss=mse loss.class_weight=none")
    parts.optimizer.check(n, layer.in_features)  # type: ignore[attr-defined]
    ridge = getattr(parts.optimizer, "ridge", False)
    for part in parts.reg.parts.values():
        terms = part.squares(parts.model)
        if terms is None or (terms and not ridge) or any(parameter is layer.bias for _, parameter in terms):
            can = "of the regularizers only l2, on weights" if ridge else "no regularizer"
            raise UserError(f"optimizer={name} solves in closed form and takes {can}; leave out {part.name}")
