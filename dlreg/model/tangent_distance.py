"""Nearest neighbours by the distance of tangent planes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dlreg.hyper import Count, NonNegative
from dlreg.model.blocks import Norm, image_shape
from dlreg.model.memory import Memory, euclidean, everyone
from dlreg.model.tangents import TANGENTS, Direction, tangents

ENTRIES = 2**21  # numbers in the tangent planes that are held at a time


class TangentDistance(Memory):
    """k nearest neighbours by $$d(x, y)^2 = min_(a,b) ||x + T_x a - y - T_y b||^2$$ with the tangents $T_x$, $T_y$ of the
    images x and y.

    Simard, LeCun, Denker (1993),
    https://papers.nips.cc/paper/656-efficient-pattern-recognition-using-a-new-transformation-distance; Hastie, Tibshirani,
    Friedman (2009), section 13.3.3, https://hastie.su.domains/ElemStatLearn. `sides` = 1 leaves out $T_x$: the
    distance of x to the tangent plane of a training image. The two-sided distance is computed to the `candidates` training
    images (null: all) that are nearest by the one-sided one. `directions` (null: all seven) and `sigma` are those of
    `reg=tangent_prop`; the images are the normalized ones, and go on beyond their border as they end there. With
    data.normalize=per_pixel or whiten the tangents are no movements of what one sees. Votes are counted as in `model=knn`, and
    there is nothing to train either.
    """

    planes: Tensor
    places: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        norm: Norm,
        *,
        k: Count,
        sides: Literal[1, 2],
        candidates: Count | None,
        directions: list[Direction] | None,
        sigma: NonNegative,
    ) -> None:
        super().__init__(k)
        image_shape(shape, "tangent_distance", 3)
        self.sides, self.candidates, self.sigma = sides, candidates, sigma
        self.directions = [TANGENTS.index(name) for name in (TANGENTS if directions is None else directions)]
        self.register_buffer("planes", torch.zeros(0, 0, 0), persistent=False)
        self.register_buffer("places", torch.zeros(0, 0), persistent=False)

    def remember(self, x: Tensor, y: Tensor, classes: bool) -> None:
        """The samples, their tangent planes `(N, T, D)`, and where they lie along these, `(N, T)`."""
        super().remember(x, y, classes)
        self.planes = torch.cat([self.plane(part) for part in x.split(self._fitting(x))])
        self.places = (self.planes @ self.x.unsqueeze(2)).squeeze(2)

    def plane(self, x: Tensor) -> Tensor:
        """Images `(N, C, H, W)` -> orthonormal tangents `(N, T, D)`; zeros for those that depend on others."""
        along = tangents(x, self.sigma, "replicate")[self.directions].flatten(2).transpose(0, 1)
        along = F.normalize(along, dim=2)
        q, r = torch.linalg.qr(along.mT)
        free = r.diagonal(dim1=1, dim2=2).abs() > torch.finfo(r.dtype).eps ** 0.5
        return (q * free.unsqueeze(1)).mT

    def distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One-sided to all, or two-sided to the candidates."""
        flat = x.flatten(1)
        along = (flat @ self.planes.flatten(0, 1).T).unflatten(1, self.places.shape) - self.places
        squares = (euclidean(flat, self.x) - along.square().sum(2)).clamp_(min=0)
        if self.sides == 1:
            return squares, everyone(len(x), self.x)
        few = min(self.candidates or len(self.x), len(self.x))
        near = squares.topk(few, 1, largest=False)
        along = along[torch.arange(len(x), device=x.device).unsqueeze(1), near.indices]
        size = max(1, self._fitting(x) // few)
        both = map(self.two_sided, x.split(size), near.indices.split(size), along.split(size))
        return torch.minimum(torch.cat(list(both)), near.values), near.indices

    def two_sided(self, x: Tensor, numbers: Tensor, along: Tensor) -> Tensor:
        """Squared distances of x `(B, C, H, W)` to kept samples `(B, M)`, along whose planes they differ by `(B, M, T)`.

        Of the difference, what lies in the one plane is taken out, then what lies in what the other has besides; where the two
        nearly share a direction, it counts as shared, so that no distance is smaller for want of precision.
        """
        mine = self.plane(x)  # (B, T, D)
        others = F.embedding(numbers, self.planes.flatten(1)).unflatten(2, self.planes.shape[1:])  # (B, M, T, D)
        apart = x.flatten(1).unsqueeze(1) - F.embedding(numbers, self.x)
        across = apart @ mine.mT  # (B, M, T)
        angles = (others.flatten(1, 2) @ mine.mT).unflatten(1, others.shape[1:3])  # (B, M, T, T)
        rest = along.unsqueeze(3) - angles @ across.unsqueeze(3)
        one = torch.eye(rest.shape[2], dtype=x.dtype, device=x.device)
        besides = (1 + 100 * torch.finfo(x.dtype).eps) * one - angles @ angles.mT
        gain = rest * torch.cholesky_solve(rest, torch.linalg.cholesky(besides))
        return (apart.square().sum(2) - across.square().sum(2) - gain.sum((2, 3))).clamp_(min=0)

    def _fitting(self, x: Tensor) -> int:
        """How many tangent planes of such images are held at a time."""
        return max(1, ENTRIES // (len(self.directions) * x[0].numel()))
