"""The 1cycle policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dlreg.context import Progress
from dlreg.hyper import Fraction
from dlreg.schedule.cosine import half_cosine

Inside = Annotated[float, Field(gt=0, lt=1)]


def one_cycle(
    progress: Progress, *, rise: Inside, start: Fraction, final: Fraction, shape: Literal["cosine", "linear"]
) -> float:
    """From `start` up to 1 over the part `rise` of training, then down to `final`: $$a + (1 - a) (1 + cos(pi s)) / 2$$, with
    a = `start` while s falls from 1 to 0, then a = `final` while it rises to 1. The base rate is the highest one.

    Smith & Topin (2018), https://arxiv.org/abs/1708.07120; Smith (2018), section 4, https://arxiv.org/abs/1803.09820. In
    two phases with half cosines as torch's OneCycleLR (start = 1 / div_factor, final = start / final_div_factor); the
    paper's are straight (`shape=linear`), and it ends with a short third phase below the start. Momentum is not cycled.
    """
    t = progress.fraction
    done, low = (1 - t / rise, start) if t < rise else ((t - rise) / (1 - rise), final)
    return half_cosine(done, low) if shape == "cosine" else 1 + (low - 1) * done
