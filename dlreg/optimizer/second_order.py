"""Optimizers that use the curvature of the loss."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, optim
from torch.nn import Parameter

from dlreg.errors import UserError
from dlreg.hyper import Betas, Count, Fraction, NonNegative, Positive
from dlreg.optimizer.base import Closure, ClosureRule, dense, evaluate

KERNELS = 30  # a row of the Hessian takes so much longer where there are convolutions
BATCH = 64  # rows of the Hessian per backward pass


class AdaHessian(ClosureRule):
    """Adam with the Hessian's diagonal $d = E[z * H z]$, $z = +-1$ by coin, in the place of the gradient's magnitude.

    $$m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) d^2; w <- w - lr m' / (sqrt(v')^power + eps)$$, $m'$ and $v'$ bias-corrected.
    Yao et al. (2021), https://arxiv.org/abs/2006.00719. d averages over `samples` draws of z; the paper's spatial averaging
    is that of $|d|$ over the positions of a convolution's kernel, as in the authors' code. Bias is corrected by the number of
    steps in which the loss reached the weight. A step with one draw costs about three of Adam's.
    """

    revision = 2

    order: ClassVar[int] = 2

    def __init__(
        self,
        params: list[Parameter],
        *,
        lr: Positive,
        betas: Betas,
        eps: Positive,
        power: Fraction,
        samples: Count,
    ) -> None:
        super().__init__(params, lr=lr, betas=tuple(betas), eps=eps, power=power, samples=samples)

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """One update of the weights that the loss reached."""
        loss = evaluate(closure)
        reached = [p for p in self.weights if p.grad is not None]
        gradients = dense(self, reached)
        diagonal = dict(zip(reached, self._diagonal(reached, gradients), strict=True))
        self.settings["steps"] += 1  # of the draws
        for p, g in zip(reached, gradients, strict=True):
            p.grad = g.detach()  # or the weight and its gradient would keep each other alive
            if not self.state[p]:
                self.state[p] = {"mean": torch.zeros_like(p), "square": torch.zeros_like(p), "steps": 0}
            self.state[p]["steps"] += 1
        for group in self.param_groups:
            if w := [p for p in group["params"] if p in diagonal]:
                self._update(w, [diagonal[p] for p in w], group)
        return loss

    def stride(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """lr / (sqrt(v')^power + eps)."""
        state = self.state[p]
        square = state["square"] / (1 - group["betas"][1] ** state["steps"])
        return group["lr"] / (square.sqrt() ** group["power"] + group["eps"])

    def _diagonal(self, w: list[Tensor], g: list[Tensor]) -> list[Tensor]:
        """The mean of z * Hz over the draws; Hz is the gradient of <g, z>. A g without a graph does not depend on w."""
        graphs = [i for i, gradient in enumerate(g) if gradient.requires_grad]
        generator, samples = self.generator(), self.settings["samples"]
        total = [torch.zeros_like(p) for p in w]
        for i in range(samples):
            z = [torch.empty_like(p).bernoulli_(generator=generator).mul_(2).sub_(1) for p in w]
            outputs, inputs = ([values[j] for j in graphs] for values in (g, z))
            product = torch.autograd.grad(
                outputs, w, inputs, retain_graph=i + 1 < samples, allow_unused=True, materialize_grads=True
            )
            torch._foreach_addcmul_(total, z, list(product), 1 / samples)
        return [d.abs().mean((2, 3), keepdim=True).expand_as(d) if d.dim() == 4 else d for d in total]

    def _update(self, w: list[Tensor], d: list[Tensor], group: dict[str, Any]) -> None:
        m, v = ([self.state[p][name] for p in w] for name in ("mean", "square"))
        (b1, b2), counts = group["betas"], [self.state[p]["steps"] for p in w]
        torch._foreach_lerp_(m, [p.grad for p in w], 1 - b1)  # type: ignore[misc]
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, d, d, 1 - b2)
        root = torch._foreach_div(v, [1 - b2**t for t in counts])
        torch._foreach_sqrt_(root)
        torch._foreach_pow_(root, group["power"])
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(w, m, root, [-group["lr"] / (1 - b1**t) for t in counts])


class Newton(ClosureRule):
    """$$w <- w - lr (H + c I)^-1 g$$, with the full Hessian H of all weights: for small models, on the whole training set.

    Nocedal & Wright (2006), Section 3.4, https://doi.org/10.1007/978-0-387-40065-5. c starts at `damping` and grows tenfold
    until $H + c I$ is positive definite (their Algorithm 3.3), so that the step goes downhill. damping=0 is the bare step of
    the textbook, $c = 0$ throughout: it solves a quadratic at once and is drawn to saddle points.
    """

    order: ClassVar[int] = 2
    full_batch: ClassVar[bool] = True

    def __init__(self, params: list[Parameter], *, lr: Positive, damping: NonNegative, max_params: Count) -> None:
        super().__init__(params, lr=lr, damping=damping)
        size = sum(p.numel() for p in self.weights)
        kernels = any(p.dim() == 4 for p in self.weights)
        limit = max_params // KERNELS if kernels else max_params
        if size > limit:
            part = f", with convolutions a part of it, {limit:,}" if kernels else ""
            raise UserError(
                f"optimizer=newton: this model has {size:,} weights, and their Hessian the square of it; "
                f"allowed are optimizer.max_params={max_params:,}{part} (a smaller model, or raise it)"
            )

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """One step of Newton's method."""
        loss = evaluate(closure)
        w = self.weights
        gradients = dense(self, w)
        with torch.enable_grad():
            flat = torch.cat([g.reshape(-1) for g in gradients])
        move = self._solve(self._hessian(flat, w), flat.detach())
        for p, g, part, lr in zip(w, gradients, move.split([p.numel() for p in w]), self.rates, strict=True):
            p.grad = g.detach()
            p.sub_(part.view_as(p), alpha=lr)
        return loss

    @staticmethod
    def _hessian(flat: Tensor, w: list[Tensor]) -> Tensor:
        rows = []
        for units in torch.eye(len(flat), dtype=flat.dtype, device=flat.device).split(BATCH):
            parts = torch.autograd.grad(flat, w, units, retain_graph=True, is_grads_batched=True, allow_unused=True)
            dense_parts = [
                flat.new_zeros(len(units), p.numel()) if part is None else part.reshape(len(units), -1)
                for p, part in zip(w, parts, strict=True)
            ]
            rows.append(torch.cat(dense_parts, 1))
        return torch.cat(rows)

    def _solve(self, hessian: Tensor, g: Tensor) -> Tensor:
        c = self.settings["damping"]
        if not c:
            return torch.linalg.solve(hessian, g)
        if not bool(hessian.isfinite().all()):
            return torch.full_like(g, torch.nan)  # diverged: the fit will say so
        while True:
            factor, failed = torch.linalg.cholesky_ex(hessian + c * torch.eye(len(g), dtype=g.dtype, device=g.device))
            if not failed:
                return torch.cholesky_solve(g.unsqueeze(1), factor).squeeze(1)
            c *= 10


class LBFGS(optim.LBFGS):
    """Quasi-Newton steps $$w <- w - t B g$$, B the estimate of the inverse Hessian that follows from the last `history_size`
    changes of weights and gradient; up to `max_iter` of them per update.

    Liu & Nocedal (1989), https://doi.org/10.1007/BF01589116; line_search=strong_wolfe is Nocedal & Wright (2006), Algorithm
    3.5. torch's implementation, on the whole training set: the curvature would otherwise be that of two different losses.
    """

    full_batch: ClassVar[bool] = True

    def __init__(
        self,
        params: list[Parameter],
        *,
        lr: Positive,
        max_iter: Count,
        history_size: Count,
        line_search: Literal["strong_wolfe", "none"],
    ) -> None:
        search = None if line_search == "none" else line_search
        # torch's own limit of evaluations, 1.25 max_iter, leaves a line search no room when max_iter is small.
        super().__init__(params, lr, max_iter, max_iter + 25, history_size=history_size, line_search_fn=search)

    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """torch's step, which would divide by the length of a step of rate 0."""
        return super().step(closure) if self.param_groups[0]["lr"] else evaluate(closure)
