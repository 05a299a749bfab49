"""What concerns torch's implementation of optimizers and not their mathematics."""

from __future__ import annotations

import functools
import inspect

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

FUSED = ("cpu", "cuda", "mps")


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


def spare_the_compiler(optimizer: Optimizer) -> Optimizer:
    """Keep one of torch's own optimizers from importing torch's compiler: 1.6 of the seconds before the first step.

    torch wraps `step` and four other methods so that torch.compile leaves them alone, and the wrappers import
    torch._dynamo on their first call. dlreg compiles nothing, so it calls the methods inside the wrappers. Optimizers
    from elsewhere are left as they are.
    """
    if type(optimizer).__module__.startswith("torch.optim."):
        step = functools.partial(inspect.unwrap(type(optimizer).step), optimizer)
        optimizer.step = torch.no_grad()(step)  # type: ignore[method-assign]
    if type(optimizer).zero_grad is Optimizer.zero_grad:
        optimizer.zero_grad = functools.partial(_forget, optimizer)  # type: ignore[method-assign]
    return optimizer


def _forget(optimizer: Optimizer) -> None:
    """What `zero_grad` does, without its note to the profiler."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None


for _name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
    _plain = getattr(getattr(Optimizer, _name), "__wrapped__", None)
    if _plain is not None and not hasattr(_plain, "__dynamo_disable"):
        setattr(_plain, "__dynamo_disable", _plain)
