"""The derivative of a plain stack of layers, written out: autograd's numbers, to the bit, without its bookkeeping.

In a small network the bookkeeping takes longer than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.loss.base import Loss
from dlreg.model.mlp import MLP
from dlreg.run.step import Parts, with_gradient

Hooks = dict[int, Callable[..., Any]]
Back = Callable[[Tensor], Tensor]  # gradient at the output of a layer -> gradient at its input
ACTIVATIONS: dict[type[nn.Module], Callable[[Tensor, Tensor], Tensor]] = {  # (gradient at the output, output)
    nn.ReLU: lambda g, y: torch.ops.aten.threshold_backward(g, y, 0),
    nn.Tanh: torch.ops.aten.tanh_backward,
    nn.Sigmoid: torch.ops.aten.sigmoid_backward,
}


@runtime_checkable
class Factor(Protocol):
    """A forward pre-hook that multiplies what enters a layer by what does not depend on it."""

    def factor(self, layer: nn.Module, x: Tensor) -> Tensor | None:
        """Like x; None for 1."""


class Stack:
    """Outputs, loss and objective of a step, as `step.with_gradient` has them, and the gradient in every `p.grad`."""

    def __init__(self, model: nn.Sequential, criterion: Loss) -> None:
        first, net = model
        self.first, self.layers, self.criterion = first, list(cast(MLP, net).layers), criterion
        self.hooks, self.factors = _hooks(model)

    @classmethod
    def of(cls, parts: Parts) -> Stack | None:
        """The network as a stack, if it is nothing more, on a CPU, in one precision: there this is proved.

        Of penalties it takes one, of squares: the sum of three gradients depends on their order.
        """
        model, net = parts.model, getattr(parts.model, "net", None)
        if type(model) is not nn.Sequential or type(net) is not MLP or not isinstance(parts.criterion, Loss):
            return None
        known = all(type(layer) in (nn.Flatten, nn.Linear, *ACTIVATIONS) for layer in net.layers)
        plain = isinstance(parts.autocast, nullcontext)
        here = all(p.device.type == "cpu" for p in model.parameters()) and not list(model[0].parameters())
        if not (known and plain and here and len(parts.reg.penalties) <= 1):
            return None
        squares = all(part.squares(model) is not None for part in parts.reg.penalties)
        return cls(model, parts.criterion) if squares else None

    def __call__(self, parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One forward and one backward pass of x `(N, ...)` with the targets y `(N, K)`; by autograd where a hook looks on."""
        # now: a technique may set a hook at any time
        written = not any(self.hooks) and all(isinstance(f, Factor) for fs in self.factors for f in fs.values())
        return self._passes(parts, x, y) if written else with_gradient(parts, x, y)

    @torch.no_grad()
    def _passes(self, parts: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        backs: list[Back] = []
        h = self.first(x)
        for layer in self.layers:
            h = _forward(layer, h, backs)
        loss, gradient = self.criterion.with_gradient(h, y)
        for back in reversed(backs):
            gradient = back(gradient)
        for part in parts.reg.penalties:
            for alpha, w in part.squares(parts.model) or []:
                cast(Tensor, w.grad).add_(w * alpha)
        return h, loss, loss + parts.reg.penalty(parts.model, x, y, h)


class Affine:
    """$$y = x W^T + b$$: dL/dW = (dL/dy)^T x, dL/db = sum_n dL/dy_n, dL/dx = dL/dy W."""

    def __init__(self, layer: nn.Linear, x: Tensor, lowest: bool) -> None:
        self.layer, self.x, self.lowest = layer, x, lowest  # nothing asks for the gradient at the input of the network

    def __call__(self, g: Tensor) -> Tensor:
        """Leaves the gradients of the layer's own parameters."""
        weight, bias = self.layer.weight, self.layer.bias
        if weight.requires_grad:
            weight.grad = g.t().mm(self.x)
        if bias.requires_grad:
            bias.grad = g.sum(0)
        return g if self.lowest else g.mm(weight)


def _forward(layer: nn.Module, x: Tensor, backs: list[Back]) -> Tensor:
    if isinstance(layer, nn.Flatten):
        return layer(x)
    if not isinstance(layer, nn.Linear):
        y = layer(x)
        backs.append(lambda g: ACTIVATIONS[type(layer)](g, y))
        return y
    for hook in layer._forward_pre_hooks.values():
        if (factor := cast(Factor, hook).factor(layer, x)) is not None:
            x = x * factor
            backs += [factor.mul] if backs else []
    backs.append(Affine(layer, x, lowest=not backs))
    return F.linear(x, layer.weight, layer.bias)


def _hooks(model: nn.Module) -> tuple[list[Hooks], list[Hooks]]:
    """Where torch keeps the hooks of all modules: those that must not be, and those in front of linear layers, where
    factors may be."""
    none: list[Hooks] = []
    factors: list[Hooks] = []
    for module in model.modules():
        none += [module._forward_hooks, module._backward_hooks, module._backward_pre_hooks]
        (factors if type(module) is nn.Linear else none).append(module._forward_pre_hooks)
    return none, factors
