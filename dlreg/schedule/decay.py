"""Schedules that only fall."""

from __future__ import annotations

from typing import Literal

from dlreg.context import Progress
from dlreg.hyper import Fraction, NonNegative, Positive
from dlreg.schedule.base import at_step, exact, rounds


def constant(progress: Progress) -> float:
    """$$1$$."""
    return 1.0


def linear(progress: Progress, *, final: Fraction) -> float:
    """$$1 + (final - 1) t / T$$ over the whole training of T steps.

    Goodfellow et al. (2016), eq. 8.14, https://www.deeplearningbook.org/contents/optimization.html
    """
    return 1 + (final - 1) * progress.fraction


def exponential(progress: Progress, *, gamma: Fraction) -> float:
    """$$gamma^e$$ with e the epochs done; it falls at every step and meets torch's ExponentialLR at each epoch's start.

    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ExponentialLR.html
    """
    return gamma**progress.epoch


def inverse_time(progress: Progress, *, decay: NonNegative, per: Literal["epoch", "step"]) -> float:
    """$$1 / (1 + decay t)$$, t counting epochs (with the fraction) or, as the lectures' $eta_0 / (1 + d t)$, updates.

    Robbins & Monro (1951), https://doi.org/10.1214/aoms/1177729586, whose conditions (sum of rates infinite, sum of
    squares finite) it meets.
    """
    return 1 / (1 + decay * (progress.epoch if per == "epoch" else progress.step))


def step(progress: Progress, *, every: Positive, gamma: Fraction) -> float:
    """$$gamma^floor(e / every)$$: a staircase, one stair down each `every` epochs, at the nearest update.

    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.StepLR.html
    """
    return gamma ** rounds(progress, exact(every))


def multistep(progress: Progress, *, milestones: list[Positive], gamma: Fraction) -> float:
    """$$gamma^k$$, k the number of `milestones` (in epochs, to the nearest update) reached: the residual networks' staircase.

    He et al. (2016), section 4.2, https://arxiv.org/abs/1512.03385
    """
    return gamma ** sum(progress.step >= at_step(progress, exact(milestone)) for milestone in milestones)
