"""Colour casts, lighting, grey."""

from __future__ import annotations

import torch
from torch import Tensor

from dlreg.aug import color
from dlreg.aug.base import Augmentation, select
from dlreg.hyper import Fraction, NonNegative

CHUNK = 2048  # images per step of the covariance


class ColorShift(Augmentation):
    """A colour cast: to each channel of each image a number of its own is added,
    $$x_c <- x_c + u_c, u_c ~ U(-strength, strength)$$.

    Wu, Yan, Shan, Dang, Sun (2015), "data augmentation", https://arxiv.org/abs/1501.02876. On grey images
    it is a change of light.
    """

    def __init__(self, *, strength: Fraction) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Tint every image."""
        if not self.strength:
            return x
        noise = torch.rand(x.shape[:2], device=x.device, dtype=x.dtype, generator=self.generator)
        return color.shift(x, (2 * noise - 1) * self.strength)


class Lighting(Augmentation):
    """Another exposure: $$x <- x^g$$, $log g ~ U(-strength, strength)$. Black and white stay, what lies between moves.

    Isensee et al. (2021), supplement ("gamma"), https://arxiv.org/abs/1904.08128. For a light that adds colour see fancy_pca.
    """

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Light every image anew."""
        return color.gamma(x, self.uniform(x, -self.strength, self.strength).exp()) if self.strength else x


class FancyPCA(Augmentation):
    """$$x <- x + P (a * lambda)$$: along each principal component of the RGB values, by $a_i ~ N(0, sigma^2)$ times its
    eigenvalue.

    Krizhevsky, Sutskever, Hinton (2012), section 4.1, https://papers.nips.cc/paper/4824. With $C = P diag(lambda) P'$
    that sum has the distribution of $sigma C z$, $z ~ N(0, I)$, so no eigenvectors are computed. C is the covariance
    of the training set's pixels (values in [0, 1]).
    """

    revision = 2

    def __init__(self, *, sigma: NonNegative) -> None:
        self.sigma = sigma
        self._covariance: Tensor | None = None

    def transform(self, x: Tensor) -> Tensor:
        """Relight every image."""
        if not self.sigma:
            return x
        z = torch.randn(x.shape[:2], device=x.device, dtype=x.dtype, generator=self.generator)
        if self._covariance is None or self.context.samples is None:
            self._covariance = covariance(x if self.context.samples is None else self.context.samples).to(x)
        return color.shift(x, self.sigma * z @ self._covariance)


def covariance(x: Tensor) -> Tensor:
    """`(C, C)`, in float64: of the channels, over all pixels of all images, bytes as values in [0, 1]."""
    scale = 1 if x.is_floating_point() else 255
    mean = sum(chunk.double().mean((2, 3)).sum(0) for chunk in x.split(CHUNK)) / (len(x) * scale)
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    for chunk in x.split(CHUNK):
        centred = (chunk.double() / scale).transpose(0, 1).flatten(1) - mean.unsqueeze(1)
        total += centred @ centred.T
    return total / (len(x) * x[0, 0].numel())


class Grayscale(Augmentation):
    """With probability p an image loses its colours: every channel becomes $$0.2989 R + 0.587 G + 0.114 B$$.

    Chen, Kornblith, Norouzi, Hinton (2020), appendix A, https://arxiv.org/abs/2002.05709 (p = 0.2)
    """

    needs_color = True

    def __init__(self, *, p: Fraction) -> None:
        self.p = p

    def transform(self, x: Tensor) -> Tensor:
        """Drop the colours of a part of the batch."""
        return select(self.choose(x, self.p), color.grey(x), x)
