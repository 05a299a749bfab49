"""Penalties on the size of the weights, and what they share: which tensors they act on, and how strongly on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Fraction, NonNegative, Positive
from dlreg.model.blocks import Acting, acting, layer_name, weights
from dlreg.reg.base import Regularizer

Layers = dict[str, NonNegative] | None  # pattern -> strength


class WeightPenalty(Regularizer):
    """A penalty of strength `alpha` on every weight; biases and normalization parameters only with `biases=true`.

    `layers` maps patterns (`layers.1`, `blocks.*`) to strengths of their own: the first pattern that a layer's name
    matches decides, 0 leaves the layer out.
    """

    def __init__(self, *, alpha: NonNegative, layers: Layers, biases: bool) -> None:
        self.alpha, self.layers, self.biases = alpha, layers or {}, biases

    def setup(self, model: nn.Module) -> nn.Module:
        """Check the patterns, while the options that come later may still rename parameters."""
        self._terms: list[tuple[float, Acting]] | None = None
        names = list(dict.fromkeys(layer_name(w.name) for w in self._places(model)))
        for pattern in self.layers:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UserError(
                    f"reg.{self.name}.layers: {pattern!r} matches no layer; this model has {', '.join(names)}"
                )
        return model

    def terms(self, model: nn.Module) -> list[tuple[float, Acting]]:
        """(strength, weight that acts) for every strength above 0. The parameters of a fit never change identity."""
        if self._terms is None:
            found = [(self._strength(w.name), w) for w in self._places(model)]
            self._terms = [term for term in found if term[0]]
        return self._terms

    def remark(self) -> str | None:
        """When every strength is 0."""
        return None if self.alpha or any(self.layers.values()) else f"{self.name} has strength 0"

    def _places(self, model: nn.Module) -> list[Acting]:
        return acting(model) if self.biases else weights(model)

    def _strength(self, name: str) -> float:
        layer = layer_name(name)
        return next((a for pattern, a in self.layers.items() if fnmatchcase(layer, pattern)), self.alpha)


class L2(WeightPenalty):
    """$$loss + (alpha / 2) sum w^2$$: ridge, "weight decay" in the loss; the gradient gains $alpha w$.

    Hoerl & Kennard (1970), https://doi.org/10.1080/00401706.1970.10488634; Goodfellow et al. (2016), eq. 7.1-7.3,
    https://www.deeplearningbook.org/contents/regularization.html. With the *mean* loss, alpha is torch's `weight_decay`
    (which decays biases too); a lecture that writes $lambda ||w||^2$ has $lambda = alpha / 2$.
    """

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) sum w^2."""
        return half_squares([(a, w.value) for a, w in self.terms(model)])

    def squares(self, model: nn.Module) -> list[tuple[float, nn.Parameter]]:
        """The strengths and the weights."""
        return [(a, w.parameter) for a, w in self.terms(model)]


class L1(WeightPenalty):
    """$$loss + alpha sum |w|$$: the lasso.

    Tibshirani (1996), https://doi.org/10.1111/j.2517-6161.1996.tb02080.x; Goodfellow et al. (2016), eq. 7.18-7.20,
    https://www.deeplearningbook.org/contents/regularization.html. `form=subgradient` adds $alpha sign(w)$ to the gradient:
    weights oscillate about zero and are never exactly zero. `form=proximal` leaves the loss alone and soft-thresholds
    after each step, $w <- sign(w) max(|w| - d alpha, 0)$, d the step that the optimizer takes per unit of the weight's
    gradient when that stays as it is: exact zeros, and the lasso is the fixed point. With SGD d is lr, and that is ISTA (Beck &
    Teboulle 2009, eq. 1.4 and 2.6, https://doi.org/10.1137/080716542); with momentum it is $lr / (1 - momentum)$; with an
    adaptive rate per weight, that (Yun, Lozano, Yang 2021, https://arxiv.org/abs/2007.07484). While a velocity still grows, in
    its first steps, the threshold is ahead of it. Optimizers without such a step are refused.
    """

    @staticmethod
    def revision_of(node: Mapping[str, Any], optimizer: Mapping[str, Any]) -> int:
        """2 where the threshold was once lr alpha and is no longer."""
        return 2 if node["form"] == "proximal" and optimizer["name"] not in ("sgd", "svrg") else 1

    def __init__(
        self,
        *,
        alpha: NonNegative,
        layers: Layers,
        biases: bool,
        form: Literal["subgradient", "proximal"],
    ) -> None:
        super().__init__(alpha=alpha, layers=layers, biases=biases)
        self.form, self.needs_strides = form, form == "proximal"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """alpha sum |w|, in the subgradient form."""
        if self.form == "proximal":
            return 0.0
        return sum((a * w.value.abs().sum() for a, w in self.terms(model)), 0.0)

    def setup(self, model: nn.Module) -> nn.Module:
        """The proximal form needs weights that can be zero one by one."""
        model = super().setup(model)
        if self.form == "proximal" and not all(w.elementwise for w in self._places(model)):
            raise UserError(
                f"reg.{self.name}.form=proximal sets single weights to zero, and norm=weight has none: directions"
            )
        return model

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """The soft threshold, in the proximal form."""
        if self.form == "proximal" and self.context.strides:
            strides = self.context.strides()
            for a, w in self.terms(model):
                if w.parameter in strides:
                    w.parameter.copy_(soft_threshold(w.parameter, a * strides[w.parameter]))


class L1Late(L1):
    """`l1`, $$loss + alpha sum |w|$$, but only after the fraction `after` of training: "L1 applied towards the end of
    training".

    Srivastava et al. (2014), Table 9, https://jmlr.org/papers/v15/srivastava14a.html, where it comes on top of L2:
    `reg=[l2,l1_late]`. The paper states neither moment nor strength.
    """

    def __init__(
        self,
        *,
        alpha: NonNegative,
        layers: Layers,
        biases: bool,
        form: Literal["subgradient", "proximal"],
        after: Fraction,
    ) -> None:
        super().__init__(alpha=alpha, layers=layers, biases=biases, form=form)
        self.after = after

    def terms(self, model: nn.Module) -> list[tuple[float, Acting]]:
        """None before its time."""
        return super().terms(model) if self.context.progress.fraction >= self.after else []


class Lq(WeightPenalty):
    """$$loss + (alpha / 2) sum |w|^q$$; q = 2 is ridge, q = 1 the lasso with half its strength.

    Frank & Friedman (1993), https://doi.org/10.1080/00401706.1993.10485033; Bishop (2006), eq. 3.29,
    https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/. For q < 1 the gradient is
    infinite at 0, so |w| is held at `eps` from below: smaller weights are not pulled further.
    """

    def __init__(self, *, alpha: NonNegative, layers: Layers, biases: bool, q: Positive, eps: Positive) -> None:
        super().__init__(alpha=alpha, layers=layers, biases=biases)
        self.q, self.eps = q, eps

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) sum |w|^q."""
        sizes = ((a, w.value.abs()) for a, w in self.terms(model))
        sizes = ((a, size if self.q >= 1 else size.clamp_min(self.eps)) for a, size in sizes)
        return sum((a / 2 * size.pow(self.q).sum() for a, size in sizes), 0.0)


class ElasticNet(WeightPenalty):
    """$$loss + alpha (r sum |w| + (1 - r) / 2 sum w^2)$$, r = `l1_ratio`: scikit-learn's naming of the two strengths.

    Zou & Hastie (2005), eq. 3, https://doi.org/10.1111/j.1467-9868.2005.00503.x (without their rescaling by 1 + lambda_2).
    """

    def __init__(self, *, alpha: NonNegative, layers: Layers, biases: bool, l1_ratio: Fraction) -> None:
        super().__init__(alpha=alpha, layers=layers, biases=biases)
        self.l1_ratio = l1_ratio

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """Both parts."""
        terms, r = [(a, w.value) for a, w in self.terms(model)], self.l1_ratio
        lasso = sum((a * r * w.abs().sum() for a, w in terms), 0.0) if r else 0.0
        return lasso + half_squares([(a * (1 - r), w) for a, w in terms])


def soft_threshold(w: Tensor, t: float | Tensor) -> Tensor:
    """sign(w) max(|w| - t, 0)."""
    return w - w.clamp(-t, t) if isinstance(t, Tensor) else nn.functional.softshrink(w, t)


def half_squares(terms: Sequence[tuple[float, Tensor]]) -> Tensor | float:
    """sum of (alpha / 2) ||w||^2 over the pairs (alpha, w)."""
    terms = [(a, w) for a, w in terms if a]
    return _HalfSquares.apply([a for a, _ in terms], *(w for _, w in terms)) if terms else 0.0


class _HalfSquares(torch.autograd.Function):
    """torch differentiates dot(w, w) through both of its arguments; alpha w is half the work, and differentiable again."""

    @staticmethod
    def forward(ctx: Any, alphas: list[float], *ws: Tensor) -> Tensor:
        ctx.alphas = alphas
        ctx.save_for_backward(*ws)
        squares = torch.stack([w.reshape(-1).dot(w.reshape(-1)) for w in ws])
        return sum(a / 2 * square for a, square in zip(alphas, squares, strict=True))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(w * (gradient * a) for a, w in zip(ctx.alphas, ctx.saved_tensors, strict=True))
