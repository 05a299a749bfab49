"""What is counted: sums over an epoch of training, and the metrics of a model on a split."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.data.base import Split
from dlreg.data.normalize import to_unit
from dlreg.errors import Diverged

EVAL_BATCH = 2000
ECE_BINS = 15


class Tally:
    """Sums over an epoch, kept on the device and read every `CHECK` steps: one wait instead of one per step."""

    def __init__(self, first_step: int) -> None:
        self.loss, self.wrong, self.samples, self.next_step = 0.0, 0, 0, first_step
        self._clear()

    def add(self, objective: Tensor, loss: Tensor, wrong: Tensor, size: int) -> None:
        """Remember one step's numbers without reading them."""
        self.objectives.append(objective)
        self.losses.append(loss)
        self.wrongs.append(wrong)
        self.sizes.append(size)

    def flush(self) -> float:
        """Read what was remembered; returns the latest loss. Raises Diverged at the first that is not finite."""
        if not self.sizes:
            return 0.0
        objectives, losses = torch.stack([torch.stack(self.objectives), torch.stack(self.losses)]).double().cpu()
        bad = (~(objectives.isfinite() & losses.isfinite())).nonzero()
        if len(bad):
            raise Diverged(self.next_step + int(bad[0]))
        self.loss += float(losses @ torch.tensor(self.sizes, dtype=torch.float64))
        self.wrong += int(torch.stack(self.wrongs).sum())
        self.samples += sum(self.sizes)
        self.next_step += len(self.sizes)
        self._clear()
        return float(losses[-1])

    def _clear(self) -> None:
        self.objectives: list[Tensor] = []
        self.losses: list[Tensor] = []
        self.wrongs: list[Tensor] = []
        self.sizes: list[int] = []


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: Split,
    autocast: AbstractContextManager[Any] | None = None,
    keep: Callable[[Tensor], None] | None = None,
) -> dict[str, float | None]:
    """Mean cross-entropy, error, top-5 error (None under 6 classes) and calibration error in evaluation mode, as fractions.

    `ece` is the expected calibration error, sum_b |B_b|/N |accuracy(B_b) - confidence(B_b)| over 15 bins of equal width of
    the confidence max softmax (Guo et al. 2017, eq. 3, https://arxiv.org/abs/1706.04599). `keep` is given the logits of
    each batch.
    """
    model.eval()
    device = next(model.parameters()).device
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    bins = torch.zeros(ECE_BINS, dtype=torch.float64, device=device)
    classes = 0
    for x, y in zip(split.x.split(EVAL_BATCH), split.y.split(EVAL_BATCH), strict=True):
        y = y.to(device)
        with autocast or nullcontext():
            logits = model(to_unit(x.to(device)))
        logits = logits.float()
        if keep:
            keep(logits)
        classes = logits.shape[1]
        right = logits.argmax(1) == y  # as in training, also between equals
        among = right | (logits.topk(min(5, classes), 1).indices == y.unsqueeze(1)).any(1)
        sums += torch.stack(
            [F.cross_entropy(logits, y, reduction="sum"), right.logical_not().sum(), among.logical_not().sum()]
        )
        confidence = logits.softmax(1).amax(1).double()
        member = F.one_hot((confidence * ECE_BINS).ceil().long().clamp(1, ECE_BINS) - 1, ECE_BINS).double()
        bins += (right.double() - confidence) @ member
    loss, error, top5 = (sums / len(split)).tolist()
    ece = float(bins.abs().sum()) / len(split)
    return {
        "loss": loss,
        "error": error,
        "top5_error": top5 if classes > 5 else None,
        "ece": ece,
        "samples": len(split),
    }
