"""What one batch does in each layer of a trained model: how large activations and gradients are, which units are dead."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.data.base import Split
from dlreg.data.normalize import to_unit
from dlreg.model.blocks import activations, plain_name, weight_layers


@dataclass(frozen=True)
class Layer:
    """One weight layer or activation. Numbers that a layer has not are None."""

    name: str
    activation: float  # root mean square of its outputs
    dead: float | None = None  # of a ReLU: the part of its units (or channels) that are zero for every sample
    weight: float | None = None  # Euclidean norm
    gradient: float | None = None  # Euclidean norm of the loss's derivative by the weight

    @property
    def ratio(self) -> float | None:
        """||gradient|| / ||weight||: times the learning rate, what a step of SGD would change."""
        return self.gradient / self.weight if self.weight and self.gradient is not None else None


def layers(model: nn.Module, batch: Split) -> list[Layer]:
    """Every weight layer and activation in the order in which the batch passes them, in evaluation mode.

    The loss is the mean cross-entropy, without penalties. The model is left as it was.
    """
    watched = [*weight_layers(model), *activations(model)]
    names = {module: plain_name(name) for name, module in model.named_modules()}
    outputs: dict[nn.Module, Tensor] = {}
    handles = [m.register_forward_hook(lambda m, _, out: outputs.__setitem__(m, out.detach())) for m in watched]
    try:
        with torch.enable_grad():
            loss = F.cross_entropy(model.eval()(to_unit(batch.x)).float(), batch.y)
    finally:
        for handle in handles:
            handle.remove()
    params = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    gradients: dict[int, Tensor | None] = {id(p): g for p, g in zip(params.values(), found, strict=True)}
    return [_layer(names[module], module, out, gradients) for module, out in outputs.items()]


def _layer(name: str, module: nn.Module, out: Tensor, gradients: dict[int, Tensor | None]) -> Layer:
    size = float(out.float().square().mean().sqrt())
    if isinstance(module, nn.ReLU):
        units = out.transpose(0, 1).flatten(1) if out.dim() > 1 else out.unsqueeze(0)
        return Layer(name, size, dead=float((units <= 0).all(1).float().mean()))
    weight = getattr(module, "weight", None)
    gradient = gradients.get(id(weight))
    return Layer(
        name,
        size,
        weight=float(torch.as_tensor(weight).detach().norm()) if weight is not None else None,
        gradient=float(gradient.norm()) if gradient is not None else None,
    )
