"""Dropout of units: Bernoulli, Gaussian, and averaged over masks at test."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from dlreg.context import derive_seed
from dlreg.hyper import Count, DropProb
from dlreg.model.blocks import shortcut_layers, weight_layers
from dlreg.reg.base import Regularizer
from dlreg.reg.noise import drop_mask


class Dropout(Regularizer):
    """In training each unit is dropped with probability p and the kept ones are scaled,
    $$h <- m h / (1 - p)$$ with m = 0 or 1; nothing at test.

    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), eq. in section 4,
    https://jmlr.org/papers/v15/srivastava14a.html. Rates are probabilities of *dropping* (the paper's p is of keeping).
    `input_p` acts on what enters the first weight layer, `p` on what enters every later linear layer, `conv_p` on what
    enters every later convolution (the shortcuts of residual blocks are left alone).
    """

    stream = "dropout"

    def __init__(self, *, p: DropProb, input_p: DropProb, conv_p: DropProb) -> None:
        self.p, self.input_p, self.conv_p = p, input_p, conv_p

    def setup(self, model: nn.Module) -> nn.Module:
        """Put a dropout in front of every weight layer that has a rate."""
        self.places, shortcuts = 0, shortcut_layers(model)
        for i, layer in enumerate(layer for layer in weight_layers(model) if layer not in shortcuts):
            p = self.input_p if i == 0 else self.p if isinstance(layer, nn.Linear) else self.conv_p
            if p > 0:
                layer.register_forward_pre_hook(Masks(self, p))
                self.places += 1
        return model

    def remark(self) -> str | None:
        """When no layer has a rate above 0."""
        return None if self.places else f"{self.name} drops nothing on this model: no layer with a rate above 0"

    def acts(self, layer: nn.Module) -> bool:
        """Whether this forward pass through `layer` is a noisy one."""
        return layer.training

    def mask(self, x: Tensor, p: float) -> Tensor:
        """What units like x are multiplied by."""
        return drop_mask(x, p, self.generator)


class Masks:
    """A forward pre-hook: multiplies what enters a layer by masks of rate p."""

    def __init__(self, dropout: Dropout, p: float) -> None:
        self.dropout, self.p = dropout, p

    def __deepcopy__(self, memo: object) -> Masks:
        """Itself: a copy of the model is thinned by the same technique, which says when."""
        return self

    def factor(self, layer: nn.Module, x: Tensor) -> Tensor | None:
        """The mask of this pass, like x; None where nothing is dropped."""
        return self.dropout.mask(x, self.p) if self.dropout.acts(layer) else None

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """The inputs times their mask."""
        factor = self.factor(layer, inputs[0])
        return None if factor is None else (inputs[0] * factor,)


class GaussianDropout(Dropout):
    """In training each unit is multiplied by noise, $$h <- h z, z ~ N(1, p / (1 - p))$$, with the mean and variance of
    dropout's mask.

    Srivastava et al. (2014), section 10, https://jmlr.org/papers/v15/srivastava14a.html, whose $sigma^2 = (1 - p) / p$ has p
    the probability of keeping; here p is of dropping. Places and rates as in `dropout`.
    """

    def mask(self, x: Tensor, p: float) -> Tensor:
        """Gaussian noise of mean 1."""
        return torch.empty_like(x).normal_(1.0, math.sqrt(p / (1 - p)), generator=self.generator)


class MCDropout(Dropout):
    """Dropout whose final model averages `k` random masks at test instead of scaling the weights:
    $$p(y | x) = 1/k sum_i p(y | x, m_i)$$.

    Gal & Ghahramani (2016), eq. 6, https://arxiv.org/abs/1506.02142; Srivastava et al. (2014), Figure 11: about 50 masks
    match weight scaling (a lecture says 10-20). `mean=arithmetic` averages the predicted probabilities,
    `mean=geometric` their logarithms, renormalized: for softmax regression its limit *is* weight scaling (Goodfellow et
    al. 2016, eq. 7.52-7.66, https://www.deeplearningbook.org/contents/regularization.html). During training, validation
    uses weight scaling, one pass; what is tested is the average. Outputs that are no logits are averaged themselves.
    """

    def __init__(
        self, *, p: DropProb, input_p: DropProb, conv_p: DropProb, k: Count, mean: Literal["arithmetic", "geometric"]
    ) -> None:
        super().__init__(p=p, input_p=input_p, conv_p=conv_p)
        self.k, self.mean = k, mean

    def setup(self, model: nn.Module) -> nn.Module:
        """Hook the whole model too: once the fit is over, its evaluation is the average."""
        self.masks: torch.Generator | None = None  # of the test's masks: there once the fit is over
        self.sampling = False
        model = super().setup(model)
        if self.places:
            model.register_forward_hook(self._average)
        return model

    def finish(self, model: nn.Module) -> nn.Module:
        """From here on evaluation averages. Masks have a stream of their own, so a resumed run draws the same."""
        self.masks = torch.Generator(self.context.device)
        self.masks.manual_seed(derive_seed(self.context.seed, f"{self.stream}/{self.name}/test"))
        return model

    def acts(self, layer: nn.Module) -> bool:
        """In training, and in each of the k passes of the test."""
        return layer.training or self.sampling

    def mask(self, x: Tensor, p: float) -> Tensor:
        """At test from a stream of its own."""
        return drop_mask(x, p, self.masks) if self.sampling and self.masks else super().mask(x, p)

    @property
    def _average(self):  # noqa: ANN202
        def hook(model: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> Tensor | None:
            if model.training or self.sampling or self.masks is None:
                return None
            self.sampling = True
            try:
                draws = torch.stack([model(*inputs) for _ in range(self.k)])
            finally:
                self.sampling = False
            if not self.context.softmax:
                return draws.mean(0)
            draws = draws.log_softmax(2)
            return draws.mean(0) if self.mean == "geometric" else draws.logsumexp(0) - math.log(self.k)

        return hook
