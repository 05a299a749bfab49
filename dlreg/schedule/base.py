"""What every schedule shares: warmup."""

from __future__ import annotations

from collections.abc import Callable

from dlreg.context import Progress
from dlreg.hyper import NonNegative


def multiplier(schedule: Callable[[Progress], float], progress: Progress, *, warmup: NonNegative) -> float:
    """schedule(t) * min(1, (t + 1) / (warmup steps + 1)): a linear rise over `warmup` epochs, 0 for none.

    Goyal et al. (2017), section 2.2, https://arxiv.org/abs/1706.02677
    """
    steps = warmup * progress.steps_per_epoch
    return schedule(progress) * min(1.0, (progress.step + 1) / (steps + 1))
