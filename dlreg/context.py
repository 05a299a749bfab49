"""What a technique may know of the fit it acts in: where it stands, the learning rate, and random numbers of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F


class Progress(NamedTuple):
    """Where training stands. `step` counts optimizer updates from 0, `val_losses` holds those of the epochs done."""

    step: int
    steps_per_epoch: int
    total_steps: int
    val_losses: tuple[float, ...] | None = ()  # None: there is no validation set

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction."""
        return self.step / self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Part of the whole training done, 0 to 1."""
        return min(1.0, self.step / self.total_steps)


def derive_seed(seed: int, name: str, epoch: int = 0) -> int:
    """A 63-bit seed that depends on all three, so that no stream can shift another and no epoch repeats one."""
    digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Context:
    """Named random streams, the progress, the current learning rate, and what augmentations must know of the data.

    `note` is what a technique's `train` tells its own instance in this fit.

    A stream restarts at every epoch from (seed, name, epoch). Two things follow: switching one technique on leaves the
    draws of every other as they were, and a checkpoint at an epoch's end needs no generator state.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        pixel_mean: torch.Tensor | None = None,
        upright: bool = False,
        samples: torch.Tensor | None = None,
    ) -> None:
        self.seed = seed
        self.device = device
        self.pixel_mean = torch.zeros((), device=device) if pixel_mean is None else pixel_mean
        self.upright = upright  # a mirrored or turned image may be of another class
        self.samples = samples  # the training set's, as the data set holds them
        self.progress = Progress(0, 1, 1)
        self.lr = 0.0
        # How far the optimizer moves each weight per unit of its gradient; None: its steps are no multiples of gradients.
        self.strides: Callable[[], dict[torch.nn.Parameter, float | torch.Tensor]] | None = None
        self.optimizer_decay = 0.0  # the weight decay that the optimizer has of its own
        self.softmax = True  # the network's outputs are logits
        self.criterion: Callable[..., torch.Tensor] = (
            F.cross_entropy
        )  # (outputs, targets, reduction="mean") -> the loss
        self.pool: torch.Tensor | None = None  # samples without a label, as the data set holds them
        self.watching = True  # the pass through the network is that of the batch, not one of a technique's own
        self.note: dict[str, Any] = {}
        self.rehearsal = False  # what a technique does now and then, it does now: every second step
        self._epoch = 0
        self._generators: dict[tuple[str, str], torch.Generator] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Restart every stream, torch's global one too (for modules that draw from nothing else)."""
        self._epoch = epoch
        self._generators.clear()
        # `torch.manual_seed` writes a call stack down for each kind of accelerator that is not there: a millisecond.
        seed = torch.default_generator.manual_seed if self.device.type == "cpu" else torch.manual_seed
        seed(derive_seed(self.seed, "torch", epoch))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Around a pass that a technique makes for itself: those that record what the network does look away."""
        watching, self.watching = self.watching, False
        try:
            yield
        finally:
            self.watching = watching

    def generator(self, name: str, device: torch.device | str | None = None) -> torch.Generator:
        """The stream called `name`, on the fit's device unless told otherwise."""
        device = self.device if device is None else torch.device(device)
        key = (name, str(device))
        if key not in self._generators:
            generator = torch.Generator(device)
            generator.manual_seed(derive_seed(self.seed, name, self._epoch))
            self._generators[key] = generator
        return self._generators[key]
