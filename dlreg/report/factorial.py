"""What a full two-level factorial says: effects, two-way interactions, and each factor's Shapley share.

Values are arrays `(2^k, seeds)`; bit i of the first index says whether factor i is on. Each seed gives one value of every
contrast, so that the interval over seeds is that of any single number.

Effects (Box, Hunter & Hunter 2005, Statistics for Experimenters, 2nd ed., chapter 5): with s_i = +-1 for on and off,
effect_i = sum(s_i y) / 2^(k-1), the mean with the factor minus the mean without it; interaction_ij = sum(s_i s_j y) / 2^(k-1),
half of what the effect of i changes by when j is switched on.

Shapley (1953), https://doi.org/10.1515/9781400881970-018: share_i = sum over the sets S without i of
|S|! (k-|S|-1)! / k! (y(S + i) - y(S)), the mean over all orders of switching factors on of what i adds. The shares sum to
y(all) - y(none).
"""

from __future__ import annotations

import math

import numpy as np


def factors(values: np.ndarray) -> int:
    """How many factors there are."""
    return int(values.shape[0]).bit_length() - 1


def effect(values: np.ndarray, *which: int) -> np.ndarray:
    """The effect of one factor, or the interaction of several, for each seed."""
    masks = np.arange(values.shape[0])
    sign = np.prod([2 * (masks >> i & 1) - 1 for i in which], axis=0)
    contrast: np.ndarray = sign @ values / 2 ** (factors(values) - 1)
    return contrast


def shapley(values: np.ndarray, i: int) -> np.ndarray:
    """The share of factor i, for each seed."""
    k = factors(values)
    without = np.array([mask for mask in range(2**k) if not mask >> i & 1])
    sizes = [mask.bit_count() for mask in without.tolist()]
    weights = np.array([math.factorial(s) * math.factorial(k - s - 1) for s in sizes]) / math.factorial(k)
    share: np.ndarray = weights @ (values[without | 1 << i] - values[without])
    return share
