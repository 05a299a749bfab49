"""Orthogonalized momentum."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, optim
from torch.nn import Parameter

from dlreg.hyper import Betas, Decay, NonNegative, Positive
from dlreg.optimizer.adam import decay_groups
from dlreg.optimizer.base import Closure, Composite, Rule, evaluate
from dlreg.optimizer.kernels import fused

STEPS = 5
QUINTIC = (3.4445, -4.775, 2.0315)  # a s + b s^3 + c s^5, steepest at 0, brings every singular value near 1


class Muon(Composite):
    """Matrices: $$B <- momentum B + (1 - momentum) g; w <- w - 0.2 lr sqrt(max(n, m)) O$$, O the nearest orthogonal matrix.

    Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/: O by five Newton-Schulz steps of Nesterov's mixture
    $g + momentum (B - g)$, in bfloat16 on a GPU; on a CPU in the weights' own precision, as most have no arithmetic of
    bfloat16 and take 18 times as long to imitate it (AVX2, 256 x 784). The factor is that of Liu et al. (2025), Section 2.2,
    https://arxiv.org/abs/2502.16982, which gives O the size of AdamW's steps, so that one lr serves both: all that is not a
    matrix (biases, normalization, kernels of convolutions) takes AdamW's. Weights decay, biases do not. Unlike Jordan's
    advice, the classifier's matrix is no exception.
    """

    revision = 2

    def __init__(
        self,
        params: list[Parameter],
        *,
        lr: Positive,
        momentum: Decay,
        betas: Betas,
        eps: Positive,
        weight_decay: NonNegative,
    ) -> None:
        matrices = [p for p in params if p.dim() == 2]
        others = [p for p in params if p.dim() != 2]
        parts: list[optim.Optimizer] = []
        if matrices:
            parts.append(Orthogonal(matrices, lr=lr, momentum=momentum, weight_decay=weight_decay))
        if others:
            groups = decay_groups(others, weight_decay)
            parts.append(optim.AdamW(groups, lr=lr, betas=(betas[0], betas[1]), eps=eps, fused=fused(others)))
        super().__init__(parts)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Tensor | None:  # type: ignore[override]
        """Each part's step."""
        loss = evaluate(closure) if closure else None
        for part in self.parts:
            part.step()
        return loss


class Orthogonal(Rule):
    """Muon's rule for matrices."""

    keeps = ("average",)

    def update(self, w: list[Tensor], g: list[Tensor], *kept: list[Tensor], group: dict[str, Any]) -> None:
        """Decay, and a step in every singular direction alike."""
        lr, momentum = group["lr"], group["momentum"]
        for weight, gradient, average in zip(w, g, *kept, strict=True):
            average.lerp_(gradient, 1 - momentum)
            direction = orthogonal(gradient.lerp(average, momentum)).to(weight.dtype)
            weight.mul_(1 - lr * group["weight_decay"]).add_(direction, alpha=-0.2 * lr * math.sqrt(max(weight.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V^T of the singular value decomposition U S V^T: singular values within about [0.7, 1.2]."""
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    x = x.T if len(x) > x.shape[1] else x
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if len(matrix) > matrix.shape[1] else x
