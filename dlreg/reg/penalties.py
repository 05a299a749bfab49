"""Penalties on the size of the weights. Biases and normalization parameters are left out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.hyper import NonNegative
from dlreg.model.blocks import weights
from dlreg.reg.base import Regularizer


class L2(Regularizer):
    """loss + (alpha / 2) sum w^2: ridge, "weight decay" in the loss; the gradient gains alpha w.

    Hoerl & Kennard (1970), https://doi.org/10.1080/00401706.1970.10488634; Goodfellow et al. (2016), eq. 7.1-7.3,
    https://www.deeplearningbook.org/contents/regularization.html. With the *mean* loss, alpha is torch's `weight_decay`;
    a lecture that writes lambda ||w||^2 has lambda = alpha / 2.
    """

    def __init__(self, *, alpha: NonNegative) -> None:
        self.alpha = alpha

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """(alpha / 2) sum w^2."""
        if not self.alpha:
            return 0.0
        flat = (w.view(-1) for w in weights(model))
        return self.alpha / 2 * sum(torch.dot(w, w) for w in flat)


class L1(Regularizer):
    """loss + alpha sum |w|: lasso, by the subgradient alpha sign(w).

    Tibshirani (1996), https://doi.org/10.1111/j.2517-6161.1996.tb02080.x; Goodfellow et al. (2016), eq. 7.18-7.20,
    https://www.deeplearningbook.org/contents/regularization.html. Subgradient steps oscillate about zero and leave weights
    small, not exactly zero.
    """

    def __init__(self, *, alpha: NonNegative) -> None:
        self.alpha = alpha

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """alpha sum |w|."""
        return self.alpha * sum(w.abs().sum() for w in weights(model)) if self.alpha else 0.0
