"""Models that are their training samples: k nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import Count
from dlreg.model.blocks import Norm

PAIRS = 2**22  # distances that are held at a time


class Memory(nn.Module):
    """A model with nothing to train: `remember` is given the training set once in every fit, before anything else.

    What it keeps is no part of its weights: whoever opens a run again gives it the run's training set again. A subclass
    writes `distances`, and more of `remember` if it keeps more.
    """

    x: Tensor
    y: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k, self.classes = k, True
        self.register_buffer("x", torch.zeros(0, 0), persistent=False)
        self.register_buffer("y", torch.zeros(0, 0), persistent=False)

    def remember(self, x: Tensor, y: Tensor, classes: bool) -> None:
        """Samples as the model sees them, `(N, ...)`, and their targets `(N, K)`: one-hot `classes`, or values."""
        self.x, self.y, self.classes = x.flatten(1), y, classes

    def distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Samples `(B, ...)` -> squared distances `(B, C)` to C of those that it keeps, and the numbers `(B, C)` of these."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, K): the logarithms of the classes' shares of votes, or the mean of the neighbours' values."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            parts = x.to(self.x.dtype).split(max(1, PAIRS // len(self.x)))
            return torch.cat([self._said(part) for part in parts])

    def _said(self, x: Tensor) -> Tensor:
        squares, numbers = self.distances(x)
        k = min(self.k, squares.shape[1])
        nearest = numbers.gather(1, squares.topk(k, 1, largest=False).indices)
        said = self.y[nearest].sum(1)
        return ((said + 1) / (k + self.y.shape[1])).log() if self.classes else said / k


class KNN(Memory):
    """$$p(c | x) = (n_c + 1) / (k + K)$$, n_c of the k training samples nearest to x, by $||x - x_i||$, being of class c.

    Hastie, Tibshirani, Friedman (2009), section 13.3, https://hastie.su.domains/ElemStatLearn. The prediction is the class with
    most votes; of equals, the one with the smaller number. Distances are those of normalized inputs. The 1 and the number of
    classes K (Laplace's rule) keep the log probability of a class without a vote finite and change no prediction. Of
    values, the mean over the neighbours is predicted. There is nothing to train: a run is one pass over the training set,
    where a sample is its own nearest neighbour; optimizer, schedule and epochs have no effect.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, norm: Norm, *, k: Count) -> None:
        super().__init__(k)

    def distances(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """To all."""
        return euclidean(x.flatten(1), self.x), everyone(len(x), self.x)


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances `(B, N)` of the rows of x `(B, D)` and y `(N, D)`."""
    squares = torch.addmm(y.square().sum(1).unsqueeze(0), x, y.T, alpha=-2)
    return squares.add_(x.square().sum(1, keepdim=True)).clamp_(min=0)


def everyone(rows: int, kept: Tensor) -> Tensor:
    """The numbers of all kept samples, in every row."""
    return torch.arange(len(kept), device=kept.device).expand(rows, -1)
