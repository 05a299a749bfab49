"""What one batch does in each layer of a model: how large activations and gradients are, which units are dead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dlreg.data.base import Split
from dlreg.data.normalize import at_least_single, to_unit
from dlreg.model.blocks import activations, plain_name, weight_layers
from dlreg.passes import as_it_predicts

BATCH = 512  # samples that layers are measured on


@dataclass(frozen=True)
class Layer:
    """One weight layer or activation. Numbers that a layer has not are None."""

    name: str
    activation: float  # root mean square of its outputs
    dead: float | None = None  # of a ReLU: the part of its units (or channels) that are zero for every sample
    weight: float | None = None  # Euclidean norm
    gradient: float | None = None  # Euclidean norm of the loss's derivative by the weight
    update: float | None = None  # Euclidean norm of what one step of training changes of the weight

    @property
    def gradient_to_weight(self) -> float | None:
        """||gradient|| / ||weight||: times the learning rate, what a step of SGD would change."""
        return self.gradient / self.weight if self.weight and self.gradient is not None else None

    @property
    def update_to_weight(self) -> float | None:
        """||update|| / ||weight||."""
        return self.update / self.weight if self.weight and self.update is not None else None


def layers(model: nn.Module, batch: Split, criterion: Callable[..., Tensor] = F.cross_entropy) -> list[Layer]:
    """Every weight layer and activation in the order in which the batch passes them, as the model predicts.

    The loss is the batch's mean of `criterion`, without penalties; weights count as they act, whatever they are made of.
    The model is left as it was.
    """
    watched = [*weight_layers(model), *activations(model)]
    names = {module: plain_name(name) for name, module in model.named_modules()}
    names |= {module: f"{names[module]} ({type(module).__name__})" for module in activations(model)}
    outputs: dict[nn.Module, Tensor] = {}
    handles = [m.register_forward_hook(lambda m, _, out: outputs.__setitem__(m, out.detach())) for m in watched]
    try:
        with as_it_predicts(model), torch.enable_grad(), parametrize.cached():
            weights = {m: torch.as_tensor(m.weight) for m in watched if getattr(m, "weight", None) is not None}
            loss = criterion(at_least_single(model(to_unit(batch.x))), batch.y)
            gradients = _gradients(loss, weights)
    finally:
        for handle in handles:
            handle.remove()
    return [
        Layer(
            names[module],
            float(out.float().square().mean().sqrt()),
            dead=_dead(out) if isinstance(module, nn.ReLU) else None,
            weight=float(weights[module].detach().norm()) if module in weights else None,
            gradient=gradients.get(module),
        )
        for module, out in outputs.items()
    ]


def acting_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name of the layer -> a copy of its weight as evaluation uses it."""
    names = {module: plain_name(name) for name, module in model.named_modules()}
    with as_it_predicts(model), torch.no_grad():
        return {names[layer]: torch.as_tensor(layer.weight).clone() for layer in weight_layers(model)}


def _gradients(loss: Tensor, weights: dict[nn.Module, Tensor]) -> dict[nn.Module, float]:
    """The norms, of the weights that are trained and that the loss depends on."""
    trained = {module: weight for module, weight in weights.items() if weight.requires_grad}
    if not trained:
        return {}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return {module: float(g.norm()) for module, g in zip(trained, found, strict=True) if g is not None}


def _dead(out: Tensor) -> float:
    units = out.transpose(0, 1).flatten(1) if out.dim() > 1 else out.unsqueeze(0)
    return float((units <= 0).all(1).float().mean())
