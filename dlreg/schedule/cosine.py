"""Cosine annealing, once or with restarts."""

from __future__ import annotations

import math

from dlreg.context import Progress
from dlreg.hyper import AtLeastOne, Fraction, Positive


def cosine(progress: Progress, *, final: Fraction) -> float:
    """final + (1 - final) (1 + cos(pi t / T)) / 2 over the whole training of T steps.

    Loshchilov & Hutter (2017), eq. 5 without restarts, https://arxiv.org/abs/1608.03983
    """
    return _half_cosine(progress.fraction, final)


def cosine_restarts(progress: Progress, *, t_0: Positive, t_mult: AtLeastOne, final: Fraction) -> float:
    """Cosine annealing over a period of `t_0` epochs, then again from the top over t_0 t_mult, t_0 t_mult^2 ... epochs.

    Loshchilov & Hutter (2017), eq. 5, https://arxiv.org/abs/1608.03983. Their advice: use the network at the end of a
    period, not in the middle of one.
    """
    epoch, period = progress.epoch, t_0
    while epoch >= period:
        epoch -= period
        period *= t_mult
    return _half_cosine(epoch / period, final)


def _half_cosine(fraction: float, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * fraction)) / 2
