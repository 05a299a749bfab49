"""Representational sparsity: penalties on what hidden units put out."""

from __future__ import annotations

import math

from torch import Tensor, nn

from dlreg.hyper import Inside, NonNegative
from dlreg.model.blocks import activations
from dlreg.reg.base import Regularizer


class ActivationPenalty(Regularizer):
    """A penalty of strength `alpha` on the outputs h of every hidden activation, recorded during the forward pass."""

    def __init__(self, *, alpha: NonNegative) -> None:
        self.alpha = alpha

    def setup(self, model: nn.Module) -> nn.Module:
        """Record what each activation puts out in training."""
        self.seen: list[tuple[nn.Module, Tensor]] = []
        self.places = activations(model)
        for layer in self.places if self.alpha else []:
            layer.register_forward_hook(self._record)
        return model

    def remark(self) -> str | None:
        """When there is no hidden layer, or no strength."""
        if not self.alpha:
            return f"{self.name} has strength 0"
        return None if self.places else f"{self.name} penalizes nothing: this model has no hidden activation"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """The sum over the activations of the forward pass just done."""
        total = sum((self.alpha * self.cost(layer, h) for layer, h in self.seen), 0.0)
        self.seen.clear()
        return total

    def cost(self, layer: nn.Module, h: Tensor) -> Tensor:
        """The penalty of one layer's outputs h `(N, units)` or `(N, units, H, W)`."""
        raise NotImplementedError

    @property
    def _record(self):  # noqa: ANN202
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], h: Tensor) -> None:
            if layer.training and self.context.watching:
                self.seen.append((layer, h))

        return hook


class ActivationL1(ActivationPenalty):
    """$$loss + alpha mean sum |h|$$: the mean over the samples, the sum over every hidden unit (and position).

    Goodfellow et al. (2016), eq. 7.48 with Omega(h) = ||h||_1, https://www.deeplearningbook.org/contents/regularization.html;
    Glorot, Bordes, Bengio (2011), section 3, https://proceedings.mlr.press/v15/glorot11a.html.
    """

    def cost(self, layer: nn.Module, h: Tensor) -> Tensor:
        """Mean over the samples of sum |h|."""
        return h.abs().sum() / len(h)


class KLSparsity(ActivationPenalty):
    """$$loss + alpha sum_j KL(rho || m_j)$$ over the hidden units j, $m_j$ the unit's mean output over the batch (and
    positions).

    $$KL(rho || m) = rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m))$$: Ng (2011), Sparse autoencoder, section 3,
    https://web.stanford.edu/class/cs294a/sparseAutoencoder_2011new.pdf; Nair & Hinton (2009),
    https://proceedings.neurips.cc/paper/2009/hash/6e7b33fdea3adc80ebd648fffb665bb8-Abstract.html. It is defined for sigmoid
    units only. For every other nonlinearity, where m may exceed 1, the stated variant is $(m - rho)^2 / 2$, whose gradient
    $m - rho$ is what the code behind Srivastava et al. (2014), Table 9, applies to ReLU
    (https://github.com/nitishsrivastava/deepnet; it smooths m over batches, damping .9: here m is the batch's own).
    """

    def __init__(self, *, alpha: NonNegative, rho: Inside) -> None:
        super().__init__(alpha=alpha)
        self.rho = rho

    def cost(self, layer: nn.Module, h: Tensor) -> Tensor:
        """The sum over the units of one layer."""
        m = h.transpose(0, 1).flatten(1).mean(1)
        if not isinstance(layer, nn.Sigmoid):
            return (m - self.rho).square().sum() / 2
        m = m.clamp(1e-6, 1 - 1e-6)  # a saturated unit has mean 0 or 1 in float32
        entropy = self.rho * math.log(self.rho) + (1 - self.rho) * math.log(1 - self.rho)
        return (entropy - self.rho * m.log() - (1 - self.rho) * (1 - m).log()).sum()
