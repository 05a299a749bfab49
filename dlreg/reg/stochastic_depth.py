"""Stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from dlreg.hyper import Survival
from dlreg.model.blocks import Residual
from dlreg.reg.base import Regularizer


class StochasticDepth(Regularizer):
    """Residual block l of L keeps its branch with probability $$p_l = 1 - (l / L)(1 - p_L)$$:
    $$H <- f(b H_branch + shortcut)$$.

    Huang, Sun, Liu, Sedra, Weinberger (2016), eq. 2, 4, 5, https://arxiv.org/abs/1603.09382. `survival` is p_L, of the last
    block. `decay=uniform` gives every block p_L. `per=batch`: one draw of b per block and mini-batch, as in the paper, and
    a branch that is dropped is not computed (the gradient of its parameters is zero in that step, so momentum and decay
    go on, as in the authors' code); `per=sample`: a draw for each sample, everything computed. b is 0 or 1 in training; at
    test the branch is multiplied by p_l.
    """

    stream = "dropout"
    needs_gradient = False  # zeros for the sake of momentum: without gradients nothing is missed

    def __init__(
        self, *, survival: Survival, decay: Literal["linear", "uniform"], per: Literal["batch", "sample"]
    ) -> None:
        self.survival, self.decay, self.per = survival, decay, per

    def setup(self, model: nn.Module) -> nn.Module:
        """Give each residual block its probability, in the order of the forward pass."""
        blocks = [module for module in model.modules() if isinstance(module, Residual)]
        self.places = len(blocks)
        for i, block in enumerate(blocks, 1):
            p = self.survival if self.decay == "uniform" else 1 - i / len(blocks) * (1 - self.survival)
            if p < 1:
                block.drop_path = DropPath(p, self._per_batch if self.per == "batch" else self._per_sample)
        return model

    def gradient(self, model: nn.Module) -> None:
        """Zeros for the parameters of dropped branches."""
        for p in model.parameters():
            if p.requires_grad and p.grad is None:
                p.grad = torch.zeros_like(p)

    def remark(self) -> str | None:
        """When the model has no residual block."""
        return None if self.places else f"{self.name} drops nothing: this model has no residual block"

    @property
    def _per_batch(self) -> Callable[[nn.Module, Tensor, float], Tensor | float]:
        def draw(branch: nn.Module, x: Tensor, p: float) -> Tensor | float:
            if self.context.rehearsal:
                return branch(x) if self.context.progress.step % 2 else 0.0
            # Drawn on the CPU, so that nobody waits for a device to learn which way to go.
            kept = torch.rand((), generator=self.context.generator(f"{self.stream}/{self.name}", "cpu")) < p
            return branch(x) if kept else 0.0

        return draw

    @property
    def _per_sample(self) -> Callable[[nn.Module, Tensor, float], Tensor | float]:
        def draw(branch: nn.Module, x: Tensor, p: float) -> Tensor | float:
            h = branch(x)
            kept = torch.rand((len(h), *[1] * (h.dim() - 1)), generator=self.generator, device=h.device) < p
            return h * kept

        return draw


class DropPath(nn.Module):
    """The branch or nothing in training; the branch times `p` in evaluation."""

    def __init__(self, p: float, draw: Callable[[nn.Module, Tensor, float], Tensor | float]) -> None:
        super().__init__()
        self.p, self.draw = p, draw

    def forward(self, branch: nn.Module, x: Tensor) -> Tensor | float:
        """What is added to the shortcut."""
        return self.draw(branch, x, self.p) if self.training else branch(x) * self.p
