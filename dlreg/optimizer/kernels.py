"""What concerns torch's implementation of optimizers and not their mathematics."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim
from torch.nn import Parameter
from torch.optim import Optimizer

FUSED = ("cpu", "cuda", "mps")
Closure = Callable[[], Tensor]


def fused(params: list[Parameter]) -> bool:
    """True where torch has one kernel for the whole update; the rule is the same, only rounding may differ.

    The kernels run over memory: of a weight with gaps or another order they would update the wrong places, in silence.
    """
    return all(p.device.type in FUSED and p.is_floating_point() and p.is_contiguous() for p in params)


def at_rest(optimizer: Optimizer) -> Optimizer:
    """Give every weight a momentum of 0: the kernel cannot begin with weights that have one beside weights that have none."""
    for group in optimizer.param_groups:
        for p in group["params"] if group["momentum"] else []:
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimizer


def lean(optimizer: Optimizer) -> Optimizer:
    """An optimizer without what is not the update: looks at each weight, notes to the profiler, torch's compiler.

    The compiler's import takes 1.6 of the seconds before the first step: torch wraps `step` and four other methods so that
    torch.compile leaves them alone, and the wrappers import torch._dynamo on their first call. dlreg compiles nothing, so it
    calls the methods inside the wrappers. Optimizers from elsewhere are left as they are.
    """
    if type(optimizer).__module__.startswith("torch.optim."):
        step: Callable[..., Any] = functools.partial(inspect.unwrap(type(optimizer).step), optimizer)
        if kind := KERNELS.get(type(optimizer)):
            step = functools.partial(_step, optimizer, *kind, step)
        optimizer.step = torch.no_grad()(step)  # type: ignore[method-assign]
    if type(optimizer).zero_grad is Optimizer.zero_grad:
        optimizer.zero_grad = functools.partial(_forget, optimizer)  # type: ignore[method-assign]
    return optimizer


def _adam(group: dict[str, Any], w: list[Tensor], g: list[Tensor], states: list[dict[str, Tensor]]) -> None:
    kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, 1)
    kernel(
        w,
        g,
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=group["amsgrad"],
        maximize=group["maximize"],
    )


def _sgd(group: dict[str, Any], w: list[Tensor], g: list[Tensor], states: list[dict[str, Tensor]]) -> None:
    torch._fused_sgd_(
        w,
        g,
        [state["momentum_buffer"] for state in states] if group["momentum"] else [],
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
        is_first_step=False,
    )


Kernel = Callable[[dict[str, Any], list[Tensor], list[Tensor], list[dict[str, Tensor]]], None]
KERNELS: dict[type[Optimizer], tuple[Kernel, str]] = {  # and what it keeps of each weight
    optim.SGD: (_sgd, "momentum_buffer"),
    optim.Adam: (_adam, "exp_avg"),
    optim.AdamW: (_adam, "exp_avg"),
}


def _step(
    optimizer: Optimizer, kernel: Kernel, kept: str, torchs: Callable[[], Any], closure: Closure | None = None
) -> Tensor | None:
    """torch's step by its own kernel, to the bit, without its looks at each weight: in a small network they take longer.

    Where a weight has no gradient or no state yet, or anything is not plain, the step is torch's.
    """
    loss = None
    if closure:
        with torch.enable_grad():
            loss = closure()
    if all(_plain_group(optimizer, kept, group) for group in optimizer.param_groups):
        for group in optimizer.param_groups:
            w = group["params"]
            kernel(group, w, [p.grad for p in w], [optimizer.state.get(p, {}) for p in w])
    else:
        torchs()
    return loss


def _plain_group(optimizer: Optimizer, kept: str, group: dict[str, Any]) -> bool:
    """Whether the kernel can take the group as it is: on the CPU, in one precision, each weight with gradient and state."""
    w = group["params"]
    stateless = group.get("momentum") == 0  # SGD without momentum keeps nothing
    return bool(group["fused"]) and all(
        p.grad is not None
        and not p.grad.is_sparse
        and p.is_cpu
        and p.dtype == w[0].dtype
        and (stateless or optimizer.state.get(p, {}).get(kept) is not None)
        for p in w
    )


def _forget(optimizer: Optimizer) -> None:
    """What `zero_grad` does, without its note to the profiler."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None


for _name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    _plain = getattr(getattr(Optimizer, _name), "__wrapped__", None)
    if _plain is not None and not hasattr(_plain, "__dynamo_disable"):
        setattr(_plain, "__dynamo_disable", _plain)
