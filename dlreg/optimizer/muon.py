"""Orthogonalized momentum."""

from __future__ import annotations

import torch
from torch import Tensor, optim
from torch.nn import Parameter

from dlreg.hyper import Betas, Decay, NonNegative, Positive
from dlreg.optimizer.adam import decay_groups
from dlreg.optimizer.base import Closure, Composite, evaluate
from dlreg.optimizer.kernels import fused


class Muon(Composite):
    """Matrices: $$B <- momentum B + (1 - momentum) g; w <- w - 0.2 lr sqrt(max(n, m)) O$$, O the nearest orthogonal matrix.

    Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/; torch's implementation: O by five Newton-Schulz steps
    of Nesterov's mixture $g + momentum (B - g)$, in bfloat16. The factor is that of Liu et al. (2025), Section 2.2,
    https://arxiv.org/abs/2502.16982, which gives O the size of AdamW's steps, so that one lr serves both: all that is not a
    matrix (biases, normalization, kernels of convolutions) takes AdamW's. Weights decay, biases do not. Unlike Jordan's
    advice, the classifier's matrix is no exception.
    """

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
            adjust = "match_rms_adamw"
            parts.append(optim.Muon(matrices, lr, weight_decay, momentum, adjust_lr_fn=adjust))
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
