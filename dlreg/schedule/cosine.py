"""Cosine annealing, once or with restarts."""

from __future__ import annotations

import math

from dlreg.context import Progress
from dlreg.hyper import AtLeastOne, Fraction, Positive
from dlreg.schedule.base import at_step, exact, rounds


def cosine(progress: Progress, *, final: Fraction) -> float:
    """$$final + (1 - final) (1 + cos(pi t / T)) / 2$$ over the whole training of T steps.

    Loshchilov & Hutter (2017), eq. 5 without restarts, https://arxiv.org/abs/1608.03983. `final` is reached one past the
    last update, as by torch's CosineAnnealingLR with T_max = T.
    """
    return half_cosine(progress.fraction, final)


def cosine_restarts(progress: Progress, *, t_0: Positive, t_mult: AtLeastOne, final: Fraction) -> float:
    """Cosine annealing over a period of `t_0` epochs, then again from the top over $t_0 t_mult$, $t_0 t_mult^2$ ... epochs.

    Loshchilov & Hutter (2017), eq. 5, https://arxiv.org/abs/1608.03983: $$eta_min + (eta_max - eta_min)
    (1 + cos(pi T_cur / T_i)) / 2$$, with $eta_max$ the base rate, $eta_min$ = `final` of it, $T_cur$ counted at every update.
    Their advice: use the network at the end of a period, not in the middle of one. A period begins at the nearest update.
    """
    period, growth = exact(t_0), exact(t_mult)
    start = rounds(progress, period) * period if growth == 1 else 0 * period
    while progress.step >= at_step(progress, start + period):
        start += period
        period *= growth
    begin, end = (at_step(progress, epochs) / progress.steps_per_epoch for epochs in (start, start + period))
    return half_cosine((progress.epoch - begin) / (end - begin), final)


cosine_restarts.revision = 2  # type: ignore[attr-defined]


def half_cosine(fraction: float, final: float) -> float:
    """From 1 at fraction 0 to `final` at fraction 1, flat at both ends."""
    return final + (1 - final) * (1 + math.cos(math.pi * fraction)) / 2
