"""Early stopping, and what to do with the validation set afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import nn

from dlreg.data.base import Data, Split
from dlreg.hyper import Count, NonNegative
from dlreg.reg.base import Fit, Fitted, History, Regularizer
from dlreg.reg.predict import logits


class EarlyStopping(Regularizer):
    """Stop when validation has not improved by more than `min_delta` for `patience` epochs,
    $$v_e >= v_best - min_delta$$; restore the best weights.

    Goodfellow et al. (2016), Algorithm 7.1, https://www.deeplearningbook.org/contents/regularization.html; Prechelt (1998),
    https://doi.org/10.1007/3-540-49430-8_3. Of equal values the earliest counts as best.
    The loss rises before the error does, while a net only becomes surer of itself: `monitor=val_error` stops later.

    `retrain=steps` (Algorithm 7.2) then starts again on training and validation set together, for as many updates as the
    best weights had; the schedule follows the larger set's epochs. `retrain=loss` (Algorithm 7.3) goes on from the best
    weights on both, with a fresh optimizer and schedule, until the validation loss falls below the training loss at the
    stop, at most `epochs` more epochs; a remark says if it did not get there. Either way nothing is left to validate:
    the second part's rows of the history and the run have no validation figures. Of values `val_error` is the mean squared
    error.
    """

    needs_validation = True

    def __init__(
        self,
        *,
        patience: Count,
        min_delta: NonNegative,
        monitor: Literal["val_loss", "val_error"],
        retrain: Literal["none", "steps", "loss"],
    ) -> None:
        self.patience, self.min_delta, self.monitor, self.retrain = patience, min_delta, monitor, retrain
        self.goes_on = retrain == "loss"

    def train(self, fit: Fit, data: Data) -> Fitted:
        """Fit; then perhaps once more, on everything."""
        first = fit(data)
        if self.retrain == "none":
            return first
        everything = Split(*(torch.cat([a, b]) for a, b in zip(_pair(data.train), _pair(data.val), strict=True)))
        more = dataclasses.replace(data, train=everything)
        epoch = best_epoch([self._watched(row) for row in first.history], self.min_delta)
        if self.retrain == "steps":
            steps = epoch * first.steps_per_epoch
            second = fit(dataclasses.replace(more, val=data.val[:0]), steps=steps)
            text = f"{self.name}: trained again on training and validation set for {steps} updates"
        else:
            target = float(first.criterion(logits(first.last, data.train.x), data.train.y))
            second = fit(more, start=first.last.state_dict(), note={self.name: target})
            reached = second.history[-1]["val_loss"] < target
            text = f"{self.name}: validation loss {'fell below' if reached else 'did not reach'} {target:.4g} in "
            text += f"{len(second.history)} more epochs"
        later = [
            {key: None if key.startswith("val_") else value for key, value in row.items()}
            | {"epoch": row["epoch"] + len(first.history)}
            for row in second.history
        ]
        return dataclasses.replace(
            second,
            best_val=None,
            history=first.history + later,
            saw_val=True,
            remarks=[*first.remarks, *second.remarks, text],
        )

    def setup(self, model: nn.Module) -> nn.Module:
        """Nothing seen yet."""
        self.state.update(best=None, wait=0, weights=None)
        return model

    def end_epoch(self, model: nn.Module, history: History) -> bool:
        """Compare with the best so far; when going on after the stop, with the training loss there."""
        value, best = self._watched(history[-1]), self.state["best"]
        target = self.context.note.get(self.name)
        if target is not None:
            return history[-1]["val_loss"] < target
        if value is None:  # trained on everything: there is nothing to compare
            return False
        if best is None or value < best - self.min_delta:
            kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
            self.state.update(best=value, wait=0, weights=kept, epoch=history[-1]["epoch"])
        else:
            self.state["wait"] += 1
        self.state["last"] = history[-1]["epoch"]
        return self.state["wait"] >= self.patience

    def _watched(self, row: dict[str, Any]) -> float | None:
        key = "val_mse" if self.monitor == "val_error" and "val_mse" in row else self.monitor
        return row[key]

    def remark(self) -> str:
        """Which epoch the weights are of."""
        epoch, last = self.state.get("epoch"), self.state.get("last")
        return (
            "" if epoch is None else f"{self.name}: the weights are those of epoch {epoch}, restored after epoch {last}"
        )

    @property
    def decides(self) -> bool:
        """The best weights do, unless they were not looked for."""
        return self.state["weights"] is not None

    @torch.no_grad()
    def finish(self, model: nn.Module) -> nn.Module:
        """The best weights, bit for bit."""
        if self.state["weights"] is not None:
            model.load_state_dict(self.state["weights"])
        return model


def best_epoch(values: Sequence[float | None], min_delta: float) -> int:
    """The epoch, from 1, whose weights early stopping keeps."""
    best, epoch = None, 0
    for i, value in enumerate(values, 1):
        if value is not None and (best is None or value < best - min_delta):
            best, epoch = value, i
    return epoch


def _pair(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    return split.x, split.y
