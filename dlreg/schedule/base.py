"""What every schedule shares: warmup."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from dlreg.context import Progress
from dlreg.hyper import NonNegative

HALF = Fraction(1, 2)


def exact(value: float) -> Fraction:
    """The decimal number that the user wrote: 1.1 epochs of 10 updates are 11, which the product of floats exceeds."""
    return Fraction(str(value))


def at_step(progress: Progress, epochs: Fraction) -> int:
    """The update nearest to `epochs` epochs."""
    return math.floor(epochs * progress.steps_per_epoch + HALF)


def rounds(progress: Progress, every: Fraction) -> int:
    """How many periods of `every` epochs are done, each ending at its nearest update."""
    return math.ceil((progress.step + HALF) / (every * progress.steps_per_epoch)) - 1


def multiplier(schedule: Callable[[Progress], float], progress: Progress, *, warmup: NonNegative) -> float:
    """schedule(t) * min(1, (t + 1) / (warmup steps + 1)): a linear rise over `warmup` epochs, 0 for none.

    Goyal et al. (2017), section 2.2, https://arxiv.org/abs/1706.02677
    """
    steps = warmup * progress.steps_per_epoch
    return schedule(progress) * min(1.0, (progress.step + 1) / (steps + 1))
