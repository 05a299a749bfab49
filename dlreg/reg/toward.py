"""Penalties on the distance of weights from a point: given or initial weights, or another layer's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from dlreg import durable
from dlreg.errors import UserError
from dlreg.hyper import NonNegative
from dlreg.model.blocks import WEIGHT_LAYERS, layer_name, plain_name
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

    def setup(self, model: nn.Module) -> nn.Module:
        """Remember the point."""
        model = super().setup(model)
        named = self._parameters(model)
        points = [p.detach().clone() for _, p in named] if self.weights is None else self._given(named, self.weights)
        self._place = {p: i for i, (_, p) in enumerate(named)}
        self.state["points"] = points
        return model

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) sum (w - b)^2."""
        points = self.state["points"]
        return half_squares([(a, p - points[self._place[p]]) for _, a, p in self.terms(model)])

    def _given(self, named: list[tuple[str, nn.Parameter]], folder: str) -> list[Tensor]:
        """The last weights of the run in `folder`, in the order of `named`."""
        path = Path(folder).expanduser() / "weights"
        content = durable.read_listed(path.parent, path.name)
        if content is None:
            raise UserError(f"reg.{self.name}.weights={folder} is no finished run's folder: {path} cannot be read")
        saved = torch.load(io.BytesIO(content), map_location=self.context.device, weights_only=True)["last"]
        plain = {plain_name(name): tensor for name, tensor in saved.items()}
        points = [saved.get(name, plain.get(plain_name(name))) for name, _ in named]
        for (name, p), point in zip(named, points, strict=True):
            if point is None or point.shape != p.shape:
                shape = tuple(p.shape)
                raise UserError(f"reg.{self.name}.weights={folder} holds no {plain_name(name)} of shape {shape}")
        return points


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
        owners = {layer_name(f"{name}.weight"): m for name, m in model.named_modules() if isinstance(m, WEIGHT_LAYERS)}
        if self.between is not None and not (len(set(self.between)) == 2 and set(self.between) <= set(owners)):
            raise UserError(f"reg.{self.name}.between={self.between} must name two of {', '.join(owners)}")
        places = [_place(owners[name]) for name in self.between or owners]
        found = [(p, q) for p, q in zip(places[:-1], places[1:], strict=True) if _weight(p).shape == _weight(q).shape]
        if self.between is not None and not found:
            shapes = " and ".join(str(tuple(_weight(place).shape)) for place in places)
            raise UserError(f"reg.{self.name}.between={self.between} differ in shape: {shapes}")
        if self.form == "hard":
            for first, (module, attribute) in found:
                setattr(module, attribute, _weight(first))
        self.pairs = [(_weight(p), _weight(q)) for p, q in found]
        return model

    def remark(self) -> str | None:
        """When no two layers can be tied."""
        return None if self.pairs else f"{self.name} ties nothing: no two successive layers have the same shape"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) ||w_a - w_b||^2, in the soft form."""
        return half_squares([(self.alpha, a - b) for a, b in self.pairs]) if self.form == "soft" else 0.0


def _place(layer: nn.Module) -> tuple[nn.Module, str]:
    """The module and attribute where the layer's weight parameter lies: parametrizations move it."""
    return (layer.parametrizations.weight, "original") if is_parametrized(layer, "weight") else (layer, "weight")


def _weight(place: tuple[nn.Module, str]) -> nn.Parameter:
    return getattr(*place)
