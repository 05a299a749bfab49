"""Mirror images."""

from __future__ import annotations

from torch import Tensor

from dlreg.aug.base import Augmentation, select
from dlreg.hyper import Fraction


class Flip(Augmentation):
    """Each image is mirrored left to right with probability p: $$x(i, j) <- x(i, W - 1 - j)$$.

    Krizhevsky, Sutskever, Hinton (2012), section 4.1, https://papers.nips.cc/paper/4824
    """

    axis = -1

    def __init__(self, *, p: Fraction) -> None:
        self.p = p

    @property
    def turns(self) -> bool:
        """It mirrors."""
        return self.p > 0

    def transform(self, x: Tensor) -> Tensor:
        """Mirror a part of the batch."""
        return select(self.choose(x, self.p), x.flip(self.axis), x)


class VFlip(Flip):
    """Each image is mirrored top to bottom with probability p, $$x(i, j) <- x(H - 1 - i, j)$$: right for pictures
    without an up, from above or below.

    Shorten & Khoshgoftaar (2019), "Flipping", https://doi.org/10.1186/s40537-019-0197-0
    """

    axis = -2
