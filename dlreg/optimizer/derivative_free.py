"""Heuristic methods that use the loss alone. lr is the length scale of the moves they try, so that a schedule applies."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter

from dlreg.hyper import AtLeastOne, Count, Fraction, Positive
from dlreg.optimizer.base import Closure, ClosureRule, evaluate


class RandomSearch(ClosureRule):
    """Try $$w + lr s z, z ~ N(0, I)$$, and stay there if the loss is lower.

    Rastrigin (1963); with s adapted, the (1+1) evolution strategy of Rechenberg (1973): Beyer & Schwefel (2002),
    https://doi.org/10.1023/A:1015059928466. After a success $s <- s growth$, after a failure $s <- s growth^(-1/4)$: steady at
    one success in five (Rechenberg's rule). growth=1 keeps $s = 1$. One step makes `trials` tries on the batch in hand.
    """

    order: ClassVar[int] = 0

    def __init__(self, params: list[Parameter], *, lr: Positive, trials: Count, growth: AtLeastOne) -> None:
        super().__init__(params, lr=lr, trials=trials, growth=growth)

    def remark(self, batches: int) -> str | None:
        """When a move that pleases one batch is not asked what it does to the others."""
        if batches == 1:
            return None
        return "optimizer=random_search judges each move by one batch alone, which may raise the loss: give batch_size=full"

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """`trials` tries; returns the loss before."""
        group, w = self.settings, self.weights
        first = loss = evaluate(closure)
        generator = self.generator()
        group["steps"] += 1
        state = self.state[w[0]]
        scale = state.get("scale", torch.ones_like(loss))
        for _ in range(group["trials"]):
            here = [p.clone() for p in w]
            move(w, self.noise(generator), self.rates, scale)
            new = evaluate(closure)
            better = new < loss
            choose(better, w, here)
            loss = torch.where(better, new, loss)
            scale = scale * torch.where(better, group["growth"], group["growth"] ** -0.25)
        state["scale"] = scale
        return first


class Annealing(ClosureRule):
    """Try $w + lr z$, $z ~ N(0, I)$; accept it with probability $$min(1, exp(-(f_new - f) / T)), T = temperature cooling^t$$.

    Simulated annealing: Kirkpatrick, Gelatt, Vecchi (1983), https://doi.org/10.1126/science.220.4598.671, with Metropolis'
    rule. One step t makes `trials` tries on the batch in hand.
    """

    order: ClassVar[int] = 0

    def __init__(
        self, params: list[Parameter], *, lr: Positive, trials: Count, temperature: Positive, cooling: Fraction
    ) -> None:
        super().__init__(params, lr=lr, trials=trials, temperature=temperature, cooling=cooling)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """`trials` tries at one temperature; returns the loss before."""
        group, w = self.settings, self.weights
        first = loss = evaluate(closure)
        generator = self.generator()
        temperature = group["temperature"] * group["cooling"] ** group["steps"]
        group["steps"] += 1
        for _ in range(group["trials"]):
            here = [p.clone() for p in w]
            move(w, self.noise(generator), self.rates, torch.ones_like(loss))
            new = evaluate(closure)
            chance = torch.rand((), generator=generator, dtype=loss.dtype, device=loss.device)
            accepted = chance < torch.exp((loss - new) / temperature)
            choose(accepted, w, here)
            loss = torch.where(accepted, new, loss)
        return first


class Evolution(ClosureRule):
    """$$w <- w - lr G; G = 1/(2 n sigma) sum_i (f(w + sigma z_i) - f(w - sigma z_i)) z_i; z_i ~ N(0, I)$$, n pairs.

    Evolution strategies: Salimans et al. (2017), Algorithm 1 with mirrored samples (Section 2.1),
    https://arxiv.org/abs/1703.03864. G estimates the gradient of the loss smoothed by sigma; without the paper's ranking of
    losses. Its variance is about $(weights / n) |g|^2$, so lr must be small where weights are many.
    """

    order: ClassVar[int] = 0

    def __init__(self, params: list[Parameter], *, lr: Positive, pairs: Count, sigma: Positive) -> None:
        super().__init__(params, lr=lr, pairs=pairs, sigma=sigma)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """One step along the estimated gradient."""
        group, w = self.settings, self.weights
        loss = evaluate(closure)
        generator = self.generator()
        group["steps"] += 1
        here = [p.clone() for p in w]
        total = [torch.zeros_like(p) for p in w]
        for _ in range(group["pairs"]):
            z = self.noise(generator)
            losses = []
            for sign in (1, -1):
                torch._foreach_add_(w, z, alpha=sign * group["sigma"])
                losses.append(evaluate(closure))
                torch._foreach_copy_(w, here)
            torch._foreach_mul_(z, (losses[0] - losses[1]) / (2 * group["pairs"] * group["sigma"]))
            torch._foreach_add_(total, z)
        torch._foreach_mul_(total, self.rates)
        torch._foreach_sub_(w, total)
        return loss


def move(w: list[Tensor], z: list[Tensor], rates: list[float], scale: Tensor) -> None:
    """w <- w + lr scale z."""
    torch._foreach_mul_(z, rates)
    torch._foreach_mul_(z, scale)
    torch._foreach_add_(w, z)


def choose(new: Tensor, w: list[Tensor], old: list[Tensor]) -> None:
    """Keep the weights where `new` is true, else go back. No wait for the device."""
    for p, before in zip(w, old, strict=True):
        p.copy_(torch.where(new, p, before))
