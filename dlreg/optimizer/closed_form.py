"""Least squares on a linear model in one step: by singular values, by the best subset, by orthogonal matching pursuit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.errors import UserError
from dlreg.hyper import Count
from dlreg.optimizer.base import Closure, evaluate

MOST_SUBSETS = 100_000
CHUNK = 4096  # subsets that are fitted together


class Problem(NamedTuple):
    """The one layer's weights `(K, m)` and bias `(K,)`, its inputs x `(N, m)`, and the targets y `(N, K)`."""

    weight: Parameter
    bias: Parameter | None
    x: Tensor
    y: Tensor
    alpha: float  # of the penalty (alpha / 2) sum w^2 beside the mean loss


class ClosedForm(Optimizer):
    """Solves for the weights of the one trained layer at once; a subclass writes `solve`. A bias is free: it is never
    penalized nor counted. In float64 whatever the precision of the run.
    """

    full_batch: ClassVar[bool] = True
    order: ClassVar[int] = 0  # it takes no gradient
    ridge: ClassVar[bool] = False  # it knows what to do with reg=l2
    problem: Callable[[], Problem] | None = None  # set by the fit

    def __init__(self, params: list[Parameter]) -> None:
        super().__init__(params, {"lr": 1.0})

    def solve(self, x: Tensor, y: Tensor, strength: float) -> Tensor:
        """The weights w `(m, K)` that minimize ||x w - y||^2 + strength ||w||^2, in float64."""
        raise NotImplementedError

    def remark(self, batches: int) -> str:
        """What else there is to set, without effect."""
        return "the optimizer solves in its first step: more epochs, a schedule and the initial weights change nothing"

    @torch.no_grad()
    def step(self, closure: Closure) -> Tensor:  # type: ignore[override]
        """Put the solution in place; returns the loss before."""
        loss = evaluate(closure)
        if self.problem is None:
            raise UserError(
                "this optimizer solves for the weights of a model that is linear in them; here there is none"
            )
        weight, bias, x, y, alpha = self.problem()
        x, y = x.double(), y.double()
        x_mean, y_mean = (x.mean(0), y.mean(0)) if bias is not None else (torch.zeros_like(t[0]) for t in (x, y))
        w = self.solve(x - x_mean, y - y_mean, alpha * y.numel() / 2)
        weight.copy_(w.T)
        if bias is not None:
            bias.copy_(y_mean - x_mean @ w)
        return loss


class LeastSquares(ClosedForm):
    """$$w = V diag(s / (s^2 + lambda)) U' y$$ with the singular values $X = U diag(s) V'$ of the centred features: the solution
    of least norm, and with `reg=l2` ridge regression.

    Hastie, Tibshirani, Friedman (2009), eq. 3.47, https://hastie.su.domains/ElemStatLearn. The loss is a mean over n samples
    and K values, so that $lambda = alpha n K / 2$. Without a penalty singular values below the rounding error of the largest
    (numpy's rule) count as zero.
    """

    ridge = True

    def solve(self, x: Tensor, y: Tensor, strength: float) -> Tensor:
        """By SVD: the normal equations would square the condition number."""
        u, s, vt = torch.linalg.svd(x, full_matrices=False)
        if strength:
            shrunk = s / (s.square() + strength)
        else:
            tiny = torch.finfo(s.dtype).eps * max(x.shape) * (s[0] if len(s) else 0.0)
            shrunk = torch.where(s > tiny, 1 / s, 0.0)
        return vt.T @ (shrunk.unsqueeze(1) * (u.T @ y))


class BestSubset(ClosedForm):
    """$$min ||X w - y||^2 over all w with at most k weights that are not zero$$: every subset of k features is tried.

    Hastie, Tibshirani, Friedman (2009), section 3.3.1, https://hastie.su.domains/ElemStatLearn. Exact, and so for small
    problems: at most 100,000 subsets. One output.
    """

    def __init__(self, params: list[Parameter], *, k: Count) -> None:
        super().__init__(params)
        self.k = k

    def solve(self, x: Tensor, y: Tensor, strength: float) -> Tensor:
        """Least squares on every subset, in batches."""
        _one_output(y)
        m, k = x.shape[1], min(self.k, *x.shape)
        count = math.comb(m, min(self.k, m))  # whatever the samples, so that the rehearsal with few of them refuses it
        if count > MOST_SUBSETS:
            raise UserError(f"optimizer.k={self.k} has {count:,} subsets of {m} features; at most {MOST_SUBSETS:,}")
        subsets = torch.tensor(list(itertools.combinations(range(m), k)), device=x.device)
        errors = torch.cat([_on_subsets(x, y, part)[1] for part in subsets.split(CHUNK)])
        best = subsets[errors.argmin()]
        w = torch.zeros(m, 1, dtype=x.dtype, device=x.device)
        w[best] = _on_subsets(x, y, best.unsqueeze(0))[0][0]
        return w


class OrthogonalMatchingPursuit(ClosedForm):
    """$$min ||y - D h||^2 with at most k entries of h that are not zero$$, greedily: k times the column that is most
    correlated with the residual joins, and all chosen ones are fitted anew.

    Pati, Rezaiifar, Krishnaprasad (1993), https://doi.org/10.1109/ACSSC.1993.342465. Columns count with their norms taken
    out. Exact recovery is certain below a coherence of $1 / (2 k - 1)$ (Tropp 2004,
    https://doi.org/10.1109/TIT.2004.834793). One output.
    """

    def __init__(self, params: list[Parameter], *, k: Count) -> None:
        super().__init__(params)
        self.k = k

    def solve(self, x: Tensor, y: Tensor, strength: float) -> Tensor:
        """Column by column."""
        _one_output(y)
        norms = x.norm(dim=0).clamp_min(torch.finfo(x.dtype).tiny)
        chosen: list[int] = []
        w = torch.zeros(x.shape[1], 1, dtype=x.dtype, device=x.device)
        for _ in range(min(self.k, *x.shape)):
            correlation = (x.T @ (y - x @ w)).abs()[:, 0] / norms
            correlation[chosen] = -1.0
            chosen.append(int(correlation.argmax()))
            w = torch.zeros_like(w)
            w[chosen] = _on_subsets(x, y, torch.tensor([chosen], device=x.device))[0][0]
        return w


def _on_subsets(x: Tensor, y: Tensor, subsets: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares on each row of column numbers `(S, k)`: weights `(S, k, 1)`, sums of squares `(S,)`."""
    parts = x.T[subsets].mT  # (S, N, k)
    q, r = torch.linalg.qr(parts)
    w = torch.linalg.solve_triangular(r, q.mT @ y, upper=True)
    w = torch.where(w.isfinite(), w, 0.0)
    return w, (parts @ w - y).square().sum((1, 2))


def _one_output(y: Tensor) -> None:
    if y.shape[1] != 1:
        raise UserError(f"a subset of features is chosen for one output, and this data has {y.shape[1]}")
