"""L0 by stochastic gates."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dlreg.hyper import Inside, NonNegative
from dlreg.model.blocks import weight_layers
from dlreg.reg.base import Regularizer

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1  # temperature and stretch limits of the paper's experiments


class HardConcrete(nn.Module):
    """w -> w z with one gate per weight; z is random in training and its deterministic estimate in evaluation."""

    def __init__(self, like: Tensor, log_alpha: float, uniform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        # A vector, so that penalties and constraints on weights, which have two dimensions or more, leave it alone.
        self.log_alpha = nn.Parameter(torch.full((like.numel(),), log_alpha, dtype=like.dtype, device=like.device))
        self.uniform = uniform

    def forward(self, w: Tensor) -> Tensor:
        """The gated weight."""
        noise, temperature = torch.zeros(()), 1.0
        if self.training:
            u = self.uniform(self.log_alpha)
            noise, temperature = u.log() - (-u).log1p(), BETA
        s = torch.sigmoid((self.log_alpha + noise.to(w)) / temperature)
        return w * (s * (HIGH - LOW) + LOW).clamp(0, 1).view_as(w)

    def expected(self) -> Tensor:
        """The expected number of open gates, sum of P(z > 0)."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-LOW / HIGH)).sum()


class L0(Regularizer):
    """$$loss + alpha E[number of weights that are not zero]$$, through hard-concrete gates z on the weights.

    $$u ~ U(0, 1); s = sigmoid((log u - log(1 - u) + log a) / beta); z = min(1, max(0, s (1.1 + 0.1) - 0.1));
    P(z > 0) = sigmoid(log a - beta log(0.1 / 1.1))$$, $beta = 2/3$; in evaluation
    $z = min(1, max(0, 1.2 sigmoid(log a) - 0.1))$.
    Louizos, Welling, Kingma (2018), eq. 10-13, https://arxiv.org/abs/1712.01312. One gate per weight of every linear and
    convolutional layer (the paper's experiments use one per input unit or output channel); log a starts where
    $sigmoid(log a)$ = `start`. The gates train by the run's optimizer, beside the weights.
    """

    def __init__(self, *, alpha: NonNegative, start: Inside) -> None:
        self.alpha, self.start = alpha, start

    def setup(self, model: nn.Module) -> nn.Module:
        """Put a gate on every weight."""
        self.gates: list[HardConcrete] = []
        for layer in weight_layers(model) if self.alpha else []:
            gate = HardConcrete(layer.weight, math.log(self.start / (1 - self.start)), self._uniform)
            parametrize.register_parametrization(layer, "weight", gate)
            self.gates.append(gate)
        return model

    def remark(self) -> str | None:
        """How many weights are left, or that there was nothing to choose."""
        if not self.gates:
            return f"{self.name} has strength 0"
        cut = math.log(-LOW / HIGH)  # 1.2 sigmoid(log_a) - 0.1 <= 0
        left = sum(int((gate.log_alpha > cut).sum()) for gate in self.gates)
        return f"{self.name} left {left:,} of {sum(gate.log_alpha.numel() for gate in self.gates):,} weights"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """alpha times the expected number of open gates."""
        return sum((self.alpha * gate.expected() for gate in self.gates), 0.0)

    @property
    def _uniform(self) -> Callable[[Tensor], Tensor]:
        # A function and not a bound method: copies of the model must share this technique, not copy it.
        def uniform(like: Tensor) -> Tensor:
            u = torch.rand(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)
            return u.clamp(torch.finfo(u.dtype).eps, 1 - torch.finfo(u.dtype).eps)

        return uniform
