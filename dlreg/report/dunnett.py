"""The distribution of the largest of several t statistics that share their controls and their variance estimate.

Dunnett (1955, 1964), https://doi.org/10.1080/01621459.1955.10501294: k rows against one control, all with n values and one
pooled variance with f degrees of freedom. With X_0 ... X_k standard normal and f s^2 ~ chi^2(f), independent,

    P(max |T_i| < c) = E_s E_z [Phi(z + sqrt(2) c s) - Phi(z - sqrt(2) c s)]^k,   T_i = (X_i - X_0) / (sqrt(2) s)

which is the multivariate t with correlation 1/2 as an integral over two variables, whatever k is. Several controls (stars)
multiply inside E_s: exact where no row stands in two stars; else the two-sided probability is not overstated (Royen 2014).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import optimize, special
from scipy.interpolate import PchipInterpolator

_FARTHEST, _FLOOR = 80.0, 1e-12  # beyond it, and below it, a p-value stays where it is
_KNOTS = 0.02 * np.sinh(np.linspace(0, math.asinh(_FARTHEST / 0.02), 200))  # dense where p moves


def tail(t: np.ndarray, stars: tuple[int, ...], df: int, sides: int = 2) -> np.ndarray:
    """P(the largest of the statistics is at least t): the p-value, adjusted for all of them.

    stars: how many rows are compared with each control. sides: 2 for |t|, 1 for t (a negative t counts as 0).
    """
    return np.exp(_log_tail(stars, df, sides)(np.clip(t, 0, _FARTHEST)))


@functools.cache
def critical(stars: tuple[int, ...], df: int, alpha: float, sides: int = 2) -> float:
    """The t that the largest statistic reaches with probability alpha."""
    log_tail = _log_tail(stars, df, sides)
    return float(optimize.brentq(lambda c: log_tail(c) - math.log(alpha), 0, _FARTHEST, xtol=1e-10))


@functools.cache
def _log_tail(stars: tuple[int, ...], df: int, sides: int) -> PchipInterpolator:
    """log P at knots, between which it is smooth: a table needs thousands of values when it is simulated."""
    probability = 1 - sum(
        weight * math.prod(_star(_KNOTS * s, size, sides) for size in stars) for s, weight in _spread(df)
    )
    return PchipInterpolator(_KNOTS, np.log(np.maximum(probability, _FLOOR)))


def _spread(df: int) -> list[tuple[float, float]]:
    """Values of s with their weights: Gauss and Legendre's rule over the density of sqrt(chi^2(f) / f)."""
    x, w = np.polynomial.legendre.leggauss(48)
    end = 1 + 8 / math.sqrt(2 * df)
    s = (x + 1) * end / 2
    log_density = (
        math.log(2) + df / 2 * math.log(df / 2) - special.gammaln(df / 2) + (df - 1) * np.log(s) - df * s**2 / 2
    )
    return list(zip(s.tolist(), (w * end / 2 * np.exp(log_density)).tolist(), strict=True))


def _star(reach: np.ndarray, size: int, sides: int) -> np.ndarray:
    """P(every |X_i - X_0| < sqrt(2) reach), or without the bars: over X_0 by the trapezoidal rule, exact to 1e-12 here."""
    z = np.linspace(-8, 8, 81)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    inside = special.ndtr(z + math.sqrt(2) * reach[:, None])
    if sides == 2:
        inside = inside - special.ndtr(z - math.sqrt(2) * reach[:, None])
    found: np.ndarray = inside**size @ density
    return found
