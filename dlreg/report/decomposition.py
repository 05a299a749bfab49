"""What the expected squared error of a row is made of, over its runs as repeated draws of the training data.

With the prediction f of a run, the truth h without noise and the test value t = h + noise,

    E (f - t)^2 = (E f - h)^2 + E (f - E f)^2 + E (h - t)^2 = bias^2 + variance + noise

(Geman, Bienenstock, Doursat 1992, https://doi.org/10.1162/neco.1992.4.1.1; Bishop 2006, eq. 3.41-3.44). Plain averages over S
draws count part of the variance as bias: their mean is off by variance / S. What stands here are the values that the
jackknife gives each draw (Efron & Stein 1981, https://doi.org/10.1214/aos/1176345462): their mean is the estimate without
that part, and their spread gives its interval. Bias^2 may therefore come out below 0 where there is next to none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from dlreg.run.predictions import residuals
from dlreg.run.result import Result, Select

Term = Literal["bias2", "variance", "noise"]
FEWEST = 3  # draws of which each can be left out


def term(name: Term, runs: Sequence[Result], select: Select) -> list[float]:
    """A value for each run, whose mean is the term; none where a run kept too little, or was tested on other samples."""
    found = [each for run in runs if (each := residuals(run, select))]
    if len(found) < max(FEWEST, len(runs)) or len({run.test_set for run in runs}) > 1:
        return []
    wrong, noise = np.stack([mine for mine, _ in found]), found[0][1]
    if name == "noise":
        return [float((noise**2).mean())] * len(runs)
    bias2 = jackknifed(wrong)
    return (bias2 if name == "bias2" else (wrong**2).mean(1) - bias2).tolist()


def jackknifed(wrong: np.ndarray) -> np.ndarray:
    """Of residuals r `(S, N)`: S times the squared bias of all draws minus S - 1 times that of all but one, for each one.

    The squared bias is the mean of r_s(x) r_t(x) over pairs of draws and over x.
    """
    draws = len(wrong)
    with_others = (wrong * (wrong.sum(0) - wrong)).mean(1) / (draws - 1)
    return np.asarray((2 * (draws - 1) * with_others - draws * with_others.mean()) / (draws - 2))
