"""Dropout."""

from __future__ import annotations

from torch import Tensor, nn

from dlreg.hyper import DropProb
from dlreg.model.blocks import weight_layers
from dlreg.reg.base import Regularizer
from dlreg.reg.noise import drop_mask


class Dropout(Regularizer):
    """In training each unit is dropped with probability p and the kept ones are scaled by 1 / (1 - p); nothing at test.

    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), eq. in section 4,
    https://jmlr.org/papers/v15/srivastava14a.html. Rates are probabilities of *dropping* (the paper's p is of keeping).
    `input_p` acts on what enters the first weight layer, `p` on what enters every later linear layer, `conv_p` on what
    enters every later convolution.
    """

    stream = "dropout"

    def __init__(self, *, p: DropProb, input_p: DropProb, conv_p: DropProb) -> None:
        self.p, self.input_p, self.conv_p = p, input_p, conv_p

    def setup(self, model: nn.Module) -> nn.Module:
        """Put a dropout in front of every weight layer that has a rate."""
        self.places = 0
        for i, layer in enumerate(weight_layers(model)):
            p = self.input_p if i == 0 else self.p if isinstance(layer, nn.Linear) else self.conv_p
            if p > 0:
                layer.register_forward_pre_hook(self._drop(p))
                self.places += 1
        return model

    def remark(self) -> str | None:
        """When no layer has a rate above 0."""
        return None if self.places else f"{self.name} drops nothing on this model: no layer with a rate above 0"

    def _drop(self, p: float):  # noqa: ANN202
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            return (inputs[0] * drop_mask(inputs[0], p, self.generator),) if layer.training else None

        return hook
