"""How far an optimizer moves a weight per unit of its gradient: what a step on a penalty that has no gradient must know."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, optim
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.optimizer.base import Composite

Stride = float | Tensor  # of one weight tensor: for all its entries, or for each
Rule = Callable[[Optimizer, Parameter, dict[str, Any]], Stride]  # (optimizer, weight, its group)


def strides(optimizer: Optimizer) -> Callable[[], dict[Parameter, Stride]] | None:
    """After a step: d of each weight that the loss ever reached, where a gradient g that stays as it is moves a weight by -d g.

    With velocity or moments that is so at rest, when they have gathered what such a gradient adds up to: lr / (1 - momentum),
    for instance. An optimizer of somebody's own says it with a method `stride(p, group)`. None: the optimizer's steps are no
    multiples of each weight's gradient (a sign, a direction for a whole matrix, a move that is tried out).
    """
    parts = [(part, rule) for part in _parts(optimizer) if (rule := _rule(part))]
    return functools.partial(_strides, parts) if len(parts) == len(list(_parts(optimizer))) else None


def _strides(parts: Sequence[tuple[Optimizer, Rule]]) -> dict[Parameter, Stride]:
    every = ((part, rule, p, group) for part, rule in parts for group in part.param_groups for p in group["params"])
    return {
        p: rule(part, p, group)
        for part, rule, p, group in every
        if p.grad is not None or part.state.get(p) or isinstance(part, optim.SGD)
    }


def _parts(optimizer: Optimizer) -> Iterator[Optimizer]:
    if isinstance(optimizer, Composite):
        for part in optimizer.parts:
            yield from _parts(part)
    else:
        yield optimizer


def _rule(optimizer: Optimizer) -> Rule | None:
    own = getattr(type(optimizer), "stride", None)
    return own or next((TORCH[kind] for kind in type(optimizer).__mro__ if kind in TORCH), None)


def _sgd(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    return float(group["lr"] / (1 - group["momentum"]))


def _adam(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    state = optimizer.state[p]
    square = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return group["lr"] / (_corrected(square, group["betas"][1], state["step"]).sqrt() + group["eps"])


def _adamax(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    return group["lr"] / optimizer.state[p]["exp_inf"]


def _nadam(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    state, (b1, b2) = optimizer.state[p], group["betas"]
    steps, product = state["step"].to(p.dtype), state["mu_product"].to(p.dtype)
    now, ahead = (b1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (steps, steps + 1))
    share = (1 - now) / (1 - product) + ahead / (1 - product * ahead)
    return group["lr"] * share / (_corrected(state["exp_avg_sq"], b2, state["step"]).sqrt() + group["eps"])


def _rmsprop(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    root = optimizer.state[p]["square_avg"].sqrt() + group["eps"]
    return group["lr"] / ((1 - group["momentum"]) * root)


def _adagrad(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    return group["lr"] / (optimizer.state[p]["sum"].sqrt() + group["eps"])


def _adadelta(optimizer: Optimizer, p: Parameter, group: dict[str, Any]) -> Stride:
    """The step was lr sqrt(s + eps) / sqrt(r + eps) with the s before it, which now has the step in it."""
    (r, s), rho, eps = (optimizer.state[p][name] for name in ("square_avg", "acc_delta")), group["rho"], group["eps"]
    if p.grad is not None:
        share = p.grad.square() / (r + eps)
        s = (s - (1 - rho) * eps * share) / (rho + (1 - rho) * share)
    return group["lr"] * ((s + eps) / (r + eps)).sqrt()


def _corrected(square: Tensor, beta: float, steps: Tensor) -> Tensor:
    return square / (1 - beta ** steps.to(square.dtype))


TORCH: dict[type, Rule] = {
    optim.SGD: _sgd,
    optim.Adam: _adam,
    optim.Adamax: _adamax,
    optim.NAdam: _nadam,
    optim.RMSprop: _rmsprop,
    optim.Adagrad: _adagrad,
    optim.Adadelta: _adadelta,
}
