"""Descent along one coordinate at a time."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from dlreg.hyper import Count, Positive
from dlreg.optimizer.base import Closure, ClosureRule, dense, evaluate

HALVINGS = 30
SUFFICIENT = 1e-4  # the part of the decrease that the slope promises


class CoordinateDescent(ClosureRule):
    """$$w_i <- w_i - t g_i$$ for $i = 1, 2, ..., n, 1, 2, ...$: the coordinates in turn, never uphill.

    Wright (2015), https://arxiv.org/abs/1502.04759. line_search=exact starts from $t = 1 / H_ii$, which minimizes
    a quadratic along the coordinate (Gauss-Seidel); backtracking, or $H_ii <= 0$, starts from $t = lr$. Then t is halved until
    the loss falls by at least $1e-4 t g_i^2$; a coordinate where it never does stays as it was. An exact search that meets 0,
    where `reg=l1` has a kink, looks from its other side, and so a quadratic with `reg=l1` is minimized along the coordinate as
    well, $w_i <- sign(z) max(|z| - alpha / H_ii, 0)$ (Friedman, Hastie, Tibshirani 2010, eq. 5-6,
    https://doi.org/10.18637/jss.v033.i01): the lasso, with weights of exactly zero. One step visits `coordinates`
    of them (null: all), and the next goes on from there. On the whole training set: losses must be comparable.
    """

    revision = 2

    full_batch: ClassVar[bool] = True

    def __init__(
        self,
        params: list[Parameter],
        *,
        lr: Positive,
        line_search: Literal["exact", "backtracking"],
        coordinates: Count | None,
    ) -> None:
        super().__init__(params, lr=lr, line_search=line_search, coordinates=coordinates, position=0)

    @property
    def order(self) -> int:
        """Second derivatives are needed for an exact search only."""
        return 2 if self.settings["line_search"] == "exact" else 1

    def remark(self, batches: int) -> str | None:
        """When the rate is not the user's."""
        if self.order == 1:
            return None
        return (
            "optimizer=coordinate_descent with line_search=exact takes steps of 1 / curvature: lr and schedule act only "
            "where that is not positive"
        )

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """Search along the next coordinates; returns the loss before."""
        first = loss = evaluate(closure)
        group = self.settings
        places = [(p, i, lr) for p, lr in zip(self.weights, self.rates, strict=True) for i in range(p.numel())]
        for _ in range(group["coordinates"] or len(places)):
            loss = self._search(places[group["position"]], loss, closure)
            group["position"] = (group["position"] + 1) % len(places)
        for p, g in zip(self.weights, dense(self, self.weights), strict=True):
            p.grad = g.detach()
        return first

    def _search(self, place: tuple[Tensor, int, float], loss: Tensor, closure: Closure) -> Tensor:
        """Move one coordinate; returns the loss there. Before and after, the gradients are those at the weights."""
        p, i, lr = place
        slope, curvature = self._slopes(p, i)
        flat = p.view(-1)
        before = flat[i].clone()
        t = torch.full_like(loss, lr)
        if curvature is not None and curvature > 0:
            t = 1 / curvature
            flat[i] = before - t * slope
            new = evaluate(closure)
            if not before * flat[i] > 0:  # at or over 0, where penalties have kinks
                new = self._beyond_zero(place, t, new, closure)
            if new <= loss - SUFFICIENT * t * slope**2:
                return new
            if before == 0 and self._is_kink(place, t * slope * 0.5**HALVINGS, closure):
                return evaluate(closure)
            t = t / 2
        for _ in range(HALVINGS):
            flat[i] = before - t * slope
            new = evaluate(closure)
            if new <= loss - SUFFICIENT * t * slope**2:
                return new
            t = t / 2
        flat[i] = before
        return evaluate(closure)

    def _slopes(self, p: Tensor, i: int) -> tuple[Tensor, Tensor | None]:
        """First and second derivative along a coordinate, the second if it is there."""
        (gradient,) = dense(self, [p])
        with torch.enable_grad():
            slope = gradient.reshape(-1)[i]
        if not slope.requires_grad:
            return slope.detach(), None
        (row,) = torch.autograd.grad(slope, p, allow_unused=True, materialize_grads=True)
        return slope.detach(), row.reshape(-1)[i]

    def _beyond_zero(self, place: tuple[Tensor, int, float], t: Tensor, here: Tensor, closure: Closure) -> Tensor:
        """From the far side of 0 to the minimum as seen from there, or to 0 if that lies behind it; back if it is no lower."""
        p, i, _ = place
        flat, there = p.view(-1), p.view(-1)[i].clone()
        further = there - t * self._slopes(p, i)[0]
        flat[i] = torch.where(further * there > 0, further, 0.0)
        new = evaluate(closure)
        if new <= here:
            return new
        flat[i] = there
        return evaluate(closure)

    def _is_kink(self, place: tuple[Tensor, int, float], step: Tensor, closure: Closure) -> bool:
        """Whether the loss rises at once from 0, where the weight is left, although its slope there points away."""
        p, i, _ = place
        flat = p.view(-1)
        flat[i] = -step
        evaluate(closure)
        rises = bool(self._slopes(p, i)[0] * step <= 0)
        flat[i] = 0.0
        return rises
