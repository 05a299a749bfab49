"""Early stopping."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from dlreg.hyper import Count, NonNegative
from dlreg.reg.base import History, Regularizer


class EarlyStopping(Regularizer):
    """Stop when validation has not improved by more than `min_delta` for `patience` epochs; restore the best weights.

    Goodfellow et al. (2016), Algorithm 7.1, https://www.deeplearningbook.org/contents/regularization.html; Prechelt (1998),
    https://doi.org/10.1007/3-540-49430-8_3. Of equal values the earliest counts as best.
    """

    needs_validation = True

    def __init__(self, *, patience: Count, min_delta: NonNegative, monitor: Literal["val_loss", "val_error"]) -> None:
        self.patience, self.min_delta, self.monitor = patience, min_delta, monitor

    def setup(self, model: nn.Module) -> nn.Module:
        """Nothing seen yet."""
        self.state.update(best=None, wait=0, weights=None)
        return model

    def end_epoch(self, model: nn.Module, history: History) -> bool:
        """Compare with the best so far."""
        value, best = history[-1][self.monitor], self.state["best"]
        if best is None or value < best - self.min_delta:
            kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
            self.state.update(best=value, wait=0, weights=kept)
        else:
            self.state["wait"] += 1
        return self.state["wait"] >= self.patience

    @torch.no_grad()
    def finish(self, model: nn.Module) -> nn.Module:
        """The best weights, bit for bit."""
        model.load_state_dict(self.state["weights"])
        return model
