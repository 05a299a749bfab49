"""What is counted: sums over an epoch of training, and the metrics of a model on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.data.base import Data, Split
from dlreg.data.normalize import at_least_single, to_unit
from dlreg.data.task import word_of
from dlreg.errors import Diverged
from dlreg.passes import device_of

Criterion = Callable[..., Tensor]  # (outputs, targets, reduction="mean")
EVAL_BATCH = 2000
ECE_BINS = 15


class Tally:
    """Sums over an epoch, kept on the device and read every `CHECK` steps: one wait instead of one per step."""

    def __init__(self, first_step: int, missed: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.count = missed
        self.loss, self.missed, self.samples, self.next_step = 0.0, 0.0, 0, first_step
        self._clear()

    def add(self, objective: Tensor, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Remember one step's numbers without reading them."""
        self.objectives.append(objective)
        self.losses.append(loss)
        self.outputs.append(outputs)
        self.targets.append(targets)

    def flush(self) -> float:
        """Read what was remembered; returns the latest loss. Raises Diverged at the first that is not finite."""
        if not self.losses:
            return 0.0
        sizes = [len(targets) for targets in self.targets]
        objectives, losses = torch.stack([torch.stack(self.objectives), torch.stack(self.losses)]).double().cpu()
        bad = (~(objectives.isfinite() & losses.isfinite())).nonzero()
        if len(bad):
            raise Diverged(self.next_step + int(bad[0]))
        self.loss += float(losses @ torch.tensor(sizes, dtype=torch.float64))
        self.missed += float(self.count(torch.cat(self.outputs), torch.cat(self.targets)))
        self.samples += sum(sizes)
        self.next_step += len(sizes)
        self._clear()
        return float(losses[-1])

    def _clear(self) -> None:
        self.objectives: list[Tensor] = []
        self.losses: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []


@torch.no_grad()
def evaluate(
    model: nn.Module,
    split: Split,
    criterion: Criterion = F.cross_entropy,
    autocast: AbstractContextManager[Any] | None = None,
    keep: Callable[[Tensor], None] | None = None,
) -> dict[str, float | None]:
    """The mean loss and the metrics of the task in evaluation mode: see `OfClasses` and `OfValues`.

    `keep` is given the outputs of each batch.
    """
    sums = (OfValues if word_of(split.y) == "values" else OfClasses)(criterion, device_of(model))
    for outputs, y in _outputs(model, split, autocast):
        if keep:
            keep(outputs)
        sums.add(outputs, y)
    return {**sums.metrics(len(split)), "samples": len(split)}


@torch.no_grad()
def validate(
    model: nn.Module, data: Data, criterion: Criterion, autocast: AbstractContextManager[Any]
) -> tuple[float, float]:
    """Of the validation set the mean loss, and the mean of what its task counts: error or mean squared error."""
    sums = torch.zeros(2, dtype=torch.float64, device=data.val.y.device)
    for outputs, y in _outputs(model, data.val, autocast):
        sums += torch.stack([criterion(outputs, y, reduction="sum"), data.task.missed(outputs, data.task.targets(y))])
    loss, figure = (sums / len(data.val)).tolist()
    return loss, figure


def _outputs(
    model: nn.Module, split: Split, autocast: AbstractContextManager[Any] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the model gives in evaluation mode and what is right, batch by batch."""
    model.eval()
    device = device_of(model)
    for x, y in zip(split.x.split(EVAL_BATCH), split.y.split(EVAL_BATCH), strict=True):
        with autocast or nullcontext():
            outputs = model(to_unit(x.to(device)))
        yield at_least_single(outputs), y.to(device)


class OfClasses:
    """loss, error, top5_error (None under 6 classes), nll and ece (None where the loss knows no softmax), as fractions.

    `nll` is the mean cross entropy whatever the loss; `ece` the expected calibration error, sum_b |B_b|/N |accuracy(B_b) -
    confidence(B_b)| over 15 bins of equal width of the confidence max softmax (Guo et al. 2017, eq. 3,
    https://arxiv.org/abs/1706.04599).
    """

    def __init__(self, criterion: Criterion, device: torch.device) -> None:
        self.criterion, self.classes = criterion, 0
        self.softmax = getattr(criterion, "softmax", True)
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)
        self.bins = torch.zeros(ECE_BINS, dtype=torch.float64, device=device)

    def add(self, logits: Tensor, y: Tensor) -> None:
        """Outputs `(N, K)` and classes `(N,)`."""
        self.classes = logits.shape[1]
        right = logits.argmax(1) == y  # as in training, also between equals
        among = right | (logits.topk(min(5, self.classes), 1).indices == y.unsqueeze(1)).any(1)
        losses = self.criterion(logits, y, reduction="sum"), F.cross_entropy(logits, y, reduction="sum")
        self.sums += torch.stack([*losses, right.logical_not().sum(), among.logical_not().sum()])
        confidence = logits.softmax(1).amax(1).double()
        member = F.one_hot((confidence * ECE_BINS).ceil().long().clamp(1, ECE_BINS) - 1, ECE_BINS).double()
        self.bins += (right.double() - confidence) @ member

    def metrics(self, n: int) -> dict[str, float | None]:
        """Of the n samples that were added."""
        loss, nll, error, top5 = (self.sums / n).tolist()
        ece = float(self.bins.abs().sum()) / n
        return {
            "loss": loss,
            "error": error,
            "top5_error": top5 if self.classes > 5 else None,
            "nll": nll if self.softmax else None,
            "ece": ece if self.softmax else None,
        }


class OfValues:
    """loss, mse (the mean over samples and values) and r2, 1 - sum of squared errors / sum of squares about the mean.

    r2 is None where all values are equal.
    """

    def __init__(self, criterion: Criterion, device: torch.device) -> None:
        self.criterion = criterion
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.errors: list[Tensor] = []
        self.values: list[Tensor] = []

    def add(self, outputs: Tensor, y: Tensor) -> None:
        """Outputs and values `(N, K)`."""
        self.loss += self.criterion(outputs, y, reduction="sum")
        self.errors.append((outputs.double() - y.double()).square())
        self.values.append(y.double())

    def metrics(self, n: int) -> dict[str, float | None]:
        """Of the n samples that were added."""
        errors, values = torch.cat(self.errors), torch.cat(self.values)
        spread = (values - values.mean(0)).square().sum()
        r2 = 1 - errors.sum() / spread if spread > 0 else None
        return {
            "loss": float(self.loss) / n,
            "mse": float(errors.mean()),
            "r2": None if r2 is None else float(r2),
        }
