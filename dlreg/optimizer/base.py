"""What dlreg's own optimizers share: the step over groups and lists of tensors, random numbers, working in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.context import derive_seed
from dlreg.optimizer.kernels import lean

Closure = Callable[[], Tensor]


class Rule(Optimizer):
    """An update rule for the tensors of one group: a subclass names what it keeps of each weight and writes `update`."""

    keeps: ClassVar[tuple[str, ...]] = ()  # tensors like the weight, zero at the start

    def __init__(self, params: list[Parameter] | list[dict[str, Any]], **hyper: Any) -> None:
        super().__init__(params, hyper)

    def update(self, w: list[Tensor], g: list[Tensor], *kept: list[Tensor], group: dict[str, Any]) -> None:
        """Change the weights w in place, given the gradients g."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor | None:  # type: ignore[override]
        """One update of every group; returns the closure's loss."""
        loss = evaluate(closure) if closure else None
        for group in self.param_groups:
            w = [p for p in group["params"] if p.grad is not None]
            if not w:
                continue
            g = dense(self, w)
            for p in w:
                if not self.state[p]:
                    self.state[p] = {name: torch.zeros_like(p) for name in self.keeps}
            self.update(w, g, *([self.state[p][name] for p in w] for name in self.keeps), group=group)
        return loss


class ClosureRule(Optimizer):
    """An optimizer that evaluates the loss several times in one step. The first evaluation is at the weights it starts from.

    Its settings and its count of steps are those of the first group; a learning rate is each group's own.
    """

    def __init__(self, params: list[Parameter], **hyper: Any) -> None:
        super().__init__(params, {**hyper, "steps": 0, "seed": None})

    @property
    def settings(self) -> dict[str, Any]:
        """The first group."""
        return self.param_groups[0]

    @property
    def weights(self) -> list[Tensor]:
        """The parameters of all groups."""
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def rates(self) -> list[float]:
        """The learning rate of each of `weights`."""
        return [group["lr"] for group in self.param_groups for _ in group["params"]]

    def generator(self) -> torch.Generator:
        """The random numbers of this step.

        They follow from the seed that torch had at the first step, which the fit derives from the run's, and from the count
        of steps. Both are saved with the groups, so a resumed fit draws the same, and torch's own stream is only asked.
        """
        group = self.settings
        if group["seed"] is None:
            group["seed"] = torch.initial_seed()
        seed = derive_seed(group["seed"], "optimizer", group["steps"])
        return torch.Generator(self.weights[0].device).manual_seed(seed)

    def noise(self, generator: torch.Generator) -> list[Tensor]:
        """Standard normal numbers in the shapes of the weights."""
        return [torch.randn(p.shape, generator=generator, dtype=p.dtype, device=p.device) for p in self.weights]


class Composite(Optimizer):
    """Optimizers that work as one: their groups in one list, their states in one dict."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = [lean(part) for part in parts]
        for part in parts:
            self.state.update(part.state)  # some begin with one
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state
            if isinstance(part, Composite):
                part._share()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()


def evaluate(closure: Closure) -> Tensor:
    """The closure's loss, detached; `p.grad` is left as the closure made it."""
    with torch.enable_grad():
        return closure().detach()


def dense(optimizer: Optimizer, params: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of the weights; zeros for a weight that the loss did not reach."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
    if any(g.is_sparse for g in gradients):
        raise RuntimeError(f"{type(optimizer).__name__} does not support sparse gradients")
    return gradients
