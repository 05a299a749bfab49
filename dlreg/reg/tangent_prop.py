"""Invariance by derivatives: what the network says is not to change along given directions."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.autograd import forward_ad

from dlreg.errors import UserError
from dlreg.hyper import NonNegative
from dlreg.model.tangents import TANGENTS, Direction, tangents
from dlreg.passes import as_it_predicts
from dlreg.reg.base import Regularizer


class Invariance(Regularizer):
    """A penalty of strength `alpha` on the derivatives of the outputs; a subclass says with `along` in which directions.

    J t is a derivative in forward mode, exact, and of the network as it predicts.
    """

    alpha: float

    def along(self, x: Tensor) -> Tensor:
        """Samples `(N, ...)` -> directions `(T, N, ...)`."""
        raise NotImplementedError

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """alpha times the mean over samples of the squared derivatives."""
        if not self.alpha:
            return 0.0
        return self.alpha * self.derivatives(model, x, self.along(x)).square().sum() / len(x)

    def derivatives(self, model: nn.Module, x: Tensor, along: Tensor) -> Tensor:
        """J(x) t of every direction `(T, N, ...)`: `(T N, K)`."""
        repeated = x.repeat(len(along), *[1] * (x.dim() - 1))
        with as_it_predicts(model), self.context.aside(), forward_ad.dual_level(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, of what it loads for the first derivative
            outputs = model(forward_ad.make_dual(repeated, along.flatten(0, 1)))
            return forward_ad.unpack_dual(outputs).tangent


class TangentProp(Invariance):
    """$$loss + alpha mean_x sum_k ||J(x) t_k(x)||^2$$ with the network's outputs' Jacobian J and tangents $t_k$ of the image.

    Simard, Victorri, LeCun, Denker (1992), eq. 3, https://papers.nips.cc/paper/1991-tangent-prop; Goodfellow et al. (2016), eq.
    7.67, https://www.deeplearningbook.org/contents/regularization.html. `directions` are the tangents that take part: shifts
    `right` and `down`, `rotation`, `scaling`, `stretch` (axes against each other), `diagonal` (the same, by 45 degrees) and
    `thickness`; null: all seven. One unit moves the image's border by about a pixel; `sigma` is the width in pixels of the
    Gaussian that makes it smooth first. $J t$ is a derivative in forward mode, exact, and of the network as it predicts:
    dropout draws nothing, batch normalization uses its running moments. A step costs a pass for every direction.
    """

    def __init__(self, *, alpha: NonNegative, directions: list[Direction] | None, sigma: NonNegative) -> None:
        self.directions = [TANGENTS.index(name) for name in (TANGENTS if directions is None else directions)]
        self.alpha, self.sigma = alpha if self.directions else 0.0, sigma

    def setup(self, model: nn.Module) -> nn.Module:
        """Refuse what is no image."""
        samples = self.context.samples
        if samples is not None and samples.dim() != 4:
            raise UserError(
                f"reg={self.name} moves and turns images; a sample of this data has the shape {tuple(samples.shape[1:])}"
            )
        return model

    def remark(self) -> str | None:
        """When it adds nothing."""
        return None if self.alpha else f"{self.name} has {'alpha 0' if self.directions else 'no direction'}"

    def along(self, x: Tensor) -> Tensor:
        """The tangents of the images."""
        return tangents(x, self.sigma)[self.directions]
