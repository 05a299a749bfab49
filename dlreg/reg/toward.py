"""Penalties on the distance of weights from a point: given or initial weights, or another layer's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from dlreg.errors import UserError
from dlreg.hyper import NonNegative
from dlreg.model.blocks import WEIGHT_LAYERS, Acting, layer_name, plain_name, weights
from dlreg.model.saved import plain_weights
from dlreg.reg.base import Regularizer
from dlreg.reg.penalties import Layers, WeightPenalty, half_squares


class L2To(WeightPenalty):
    """$$loss + (alpha / 2) sum (w - b)^2$$, b the initial weights or those that an earlier run left in its folder.

    Goodfellow et al. (2016), section 7.1.1 and footnote 1 (any point instead of zero),
    https://www.deeplearningbook.org/contents/regularization.html; L2-SP: Li, Grandvalet, Davoine (2018), eq. 3,
    https://arxiv.org/abs/1802.01483. In the limit of small steps, gradient descent stopped after tau steps of rate eps on
    a quadratic with eigenvalue l equals $alpha = l r / (1 - r)$, $r = (1 - eps l)^tau$, with b the initial weights.
    """

    def __init__(self, *, alpha: NonNegative, layers: Layers, biases: bool, weights: str | None) -> None:
        super().__init__(alpha=alpha, layers=layers, biases=biases)
        self.weights = weights

    @staticmethod
    def files(weights: str | None, **others: object) -> list[Path]:
        """What it reads: a run's identity contains their digest."""
        return [Path(weights).expanduser() / "weights"] if weights else []

    def setup(self, model: nn.Module) -> nn.Module:
        """Remember the point."""
        model = super().setup(model)
        ws = self._places(model)
        points = [w.value.detach().clone() for w in ws] if self.weights is None else self._given(ws, self.weights)
        self._place = {w.parameter: i for i, w in enumerate(ws)}
        self.state["points"] = points
        return model

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) sum (w - b)^2."""
        points = self.state["points"]
        return half_squares([(a, w.value - points[self._place[w.parameter]]) for a, w in self.terms(model)])

    def _given(self, ws: list[Acting], folder: str) -> list[Tensor]:
        """The last weights of the run in `folder`, in the order of `ws`."""
        [path] = self.files(folder)
        plain = plain_weights(path, self.context.device)
        if plain is None:
            raise UserError(f"reg.{self.name}.weights={folder} is no finished run's folder: {path} cannot be read")
        for w in ws:
            name, shape = plain_name(w.name), tuple(w.shape)
            if name not in plain or plain[name].shape != shape:
                raise UserError(f"reg.{self.name}.weights={folder} holds no {name} of shape {shape}")
        return [plain[plain_name(w.name)] for w in ws]


class Tie(Regularizer):
    """Parameter sharing between layers of the same shape. Soft: $$loss + (alpha / 2) ||w_a - w_b||^2$$. Hard: one storage.

    Goodfellow et al. (2016), section 7.9, https://www.deeplearningbook.org/contents/regularization.html (they print
    $||w_a - w_b||^2$); soft sharing: Lasserre, Bishop, Minka (2006), https://doi.org/10.1109/CVPR.2006.227. `between` names two
    layers; null stands for every two weight layers of the same shape that follow each other.
    """

    def __init__(self, *, alpha: NonNegative, between: list[str] | None, form: Literal["soft", "hard"]) -> None:
        self.alpha, self.between, self.form = alpha, between, form

    def setup(self, model: nn.Module) -> nn.Module:
        """Find the pairs; share the storage in the hard form."""
        owners = {
            layer_name(f"{name}.weight"): m
            for name, m in model.named_modules()
            if isinstance(m, WEIGHT_LAYERS) and weights(m)
        }  # not those that are frozen
        if self.between is not None and not (len(set(self.between)) == 2 and set(self.between) <= set(owners)):
            raise UserError(f"reg.{self.name}.between={self.between} must name two of {', '.join(owners)}")
        layers = [owners[name] for name in self.between or owners]
        shapes = [tuple(weights(layer)[0].shape) for layer in layers]
        self.pairs = [layers[i : i + 2] for i in range(len(layers) - 1) if shapes[i] == shapes[i + 1]]
        if self.between is not None and not self.pairs:
            text = " and ".join(map(str, shapes))
            raise UserError(f"reg.{self.name}.between={self.between} differ in shape: {text}")
        for first, second in self.pairs if self.form == "hard" else []:
            _share(first, second)
        return model

    def remark(self) -> str | None:
        """When no two layers can be tied."""
        return None if self.pairs else f"{self.name} ties nothing: no two successive layers have the same shape"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) ||w_a - w_b||^2, in the soft form."""
        if self.form == "hard":
            return 0.0
        pairs = ([weights(layer)[0].value for layer in pair] for pair in self.pairs)
        return half_squares([(self.alpha, a - b) for a, b in pairs])


def _share(first: nn.Module, second: nn.Module) -> None:
    """Give the second layer the first one's weight: the parameters themselves, wherever parametrizations moved them."""
    layers: tuple[Any, Any] = first, second
    owners = [m.parametrizations.weight if is_parametrized(m, "weight") else m for m in layers]
    for name in ("weight", "original", "original0", "original1"):
        if isinstance(getattr(owners[0], name, None), nn.Parameter):
            setattr(owners[1], name, getattr(owners[0], name))
