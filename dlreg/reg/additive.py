"""Additive Gaussian noise on inputs, hidden units and weights, in training only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dlreg.hyper import NonNegative
from dlreg.model.blocks import weight_layers
from dlreg.reg.base import Regularizer


class Noise(Regularizer):
    """Adds N(0, sigma^2) somewhere."""

    def __init__(self, *, sigma: NonNegative) -> None:
        self.sigma = sigma
        self.places = 1

    def remark(self) -> str | None:
        """When it disturbs nothing."""
        if not self.sigma:
            return f"{self.name} has sigma 0"
        return None if self.places else f"{self.name} disturbs nothing: this model has no hidden layer"

    @property
    def noisy(self) -> Callable[[Tensor], Tensor]:
        """x -> x + N(0, sigma^2). A function and not a method: copies of the model share this technique."""

        def add(x: Tensor) -> Tensor:
            return x + torch.empty_like(x).normal_(0.0, self.sigma, generator=self.generator)

        return add


class InputNoise(Noise):
    """$$x <- x + N(0, sigma^2)$$ on inputs in [0, 1], before their normalization; values may leave [0, 1].

    Sietsma & Dow (1991), https://doi.org/10.1016/0893-6080(91)90033-2; Bishop (1995), eq. 13-14,
    https://doi.org/10.1162/neco.1995.7.1.108. For a linear model with squared loss, $E[loss] = loss + sigma^2 ||w||^2$ where
    the loss is the mean of $(w x - y)^2$: L2 with $alpha = 2 sigma^2$, exactly. Lectures that halve the loss halve both.
    """

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Disturb the batch."""
        return (self.noisy(x), y) if self.sigma else (x, y)


class HiddenNoise(Noise):
    """$$h <- h + N(0, sigma^2)$$ on what enters every weight layer but the first.

    Poole, Sohl-Dickstein, Ganguli (2014), https://arxiv.org/abs/1406.1831; Goodfellow et al. (2016), section 7.5,
    https://www.deeplearningbook.org/contents/regularization.html
    """

    def setup(self, model: nn.Module) -> nn.Module:
        """Put the noise in front of the later weight layers."""
        later = weight_layers(model)[1:]
        self.places = len(later)
        for layer in later if self.sigma else []:
            layer.register_forward_pre_hook(self._disturb)
        return model

    @property
    def _disturb(self):  # noqa: ANN202
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            return (self.noisy(inputs[0]),) if layer.training else None

        return hook


class WeightNoise(Noise):
    """Each training pass uses $$w + N(0, sigma^2)$$; the gradient is taken there and the update applied to w.

    Graves (2011), section 3, https://papers.nips.cc/paper/4329-practical-variational-inference-for-neural-networks; Goodfellow
    et al. (2016), eq. 7.30-7.32, https://www.deeplearningbook.org/contents/regularization.html. For small sigma it penalizes
    (sigma^2 / 2) ||d f / d w||^2 where the squared loss is halved (a lecture prints an m in front, which is spurious).
    Weights of linear and convolutional layers, not biases; one draw per pass for the whole batch.
    """

    def setup(self, model: nn.Module) -> nn.Module:
        """Make each weight a noisy view of its parameter."""
        for layer in weight_layers(model) if self.sigma else []:
            parametrize.register_parametrization(layer, "weight", NoisyInTraining(self.noisy))
        return model


class NoisyInTraining(nn.Module):
    """The weight in evaluation, the weight plus noise in training."""

    def __init__(self, noisy: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.noisy = noisy

    def forward(self, w: Tensor) -> Tensor:
        """A fresh draw at every use."""
        return self.noisy(w) if self.training else w
