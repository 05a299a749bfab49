"""What tuning found, against how much of it there was: the expected best of n trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tried:
    """One trial: its setting, as overrides, and its mean over the tuning seeds in the unit that is shown."""

    setting: tuple[str, ...]
    score: float | None  # None: it diverged, or was cut
    seconds: float


@dataclass(frozen=True)
class Tuning:
    """The finished trials of a row in their order."""

    quantity: str  # what the best has the least of, with its unit
    digits: int
    adaptive: bool  # each trial was chosen by those before: their order matters
    tried: tuple[Tried, ...]

    @property
    def scores(self) -> np.ndarray:
        """Of the trials; infinite where one diverged or was cut."""
        return np.array([math.inf if t.score is None else t.score for t in self.tried], dtype=float)

    @property
    def best_of(self) -> np.ndarray:
        """The expected best of n = 1 ... N trials. Of trials that build on each other: the best of the first n."""
        return np.minimum.accumulate(self.scores) if self.adaptive else expected_best(self.scores)

    @property
    def best(self) -> list[float | None]:
        """`best_of` as data; None while every trial may be one that diverged or was cut."""
        return [value if math.isfinite(value) else None for value in self.best_of.tolist()]

    def as_data(self) -> dict[str, Any]:
        """For JSON: every trial, and the curve."""
        return {"quantity": self.quantity, "adaptive": self.adaptive, "trials": [asdict(t) for t in self.tried],
                "best_of": self.best}  # fmt: skip


def weights(trials: int, n: int) -> np.ndarray:
    """The probabilities that the i-th smallest of N trials is the smallest of n of them, i = 1 ... N.

    $$w_i = C(N - i, n - 1) / C(N, n)$$: hypergeometric, all subsets of n being equally likely.
    """
    i = np.arange(1, trials)
    steps = np.maximum(trials - i - n + 1, 0) / (trials - i)  # w_(i+1) / w_i
    return np.cumprod(np.concatenate([[n / trials], steps]))


def expected_best(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean, over all subsets of n of the N scores, of the smallest in the subset; for n = 1 ... N.

    $$b_n = sum_i w_i s_(i), w_i = C(N - i, n - 1) / C(N, n)$$ with s sorted. This U-statistic is unbiased for the expected
    best of n independent trials: Tang et al. (2020), https://aclanthology.org/2020.acl-main.246, who correct the estimator of
    Dodge et al. (2019), https://aclanthology.org/D19-1224, which draws with replacement and is too low in n. A trial that
    diverged or was cut is infinite, and so is the mean while a subset can hold nothing else.
    """
    ordered = np.sort(np.asarray(scores, dtype=float))
    found = []
    for n in range(1, len(ordered) + 1):
        w = weights(len(ordered), n)
        found.append(float(w[w > 0] @ ordered[w > 0]))
    return np.array(found)


def quantiles(scores: Sequence[float] | np.ndarray, n: int, levels: Sequence[float]) -> np.ndarray:
    """Quantiles, over all subsets of n of the scores, of the smallest in the subset."""
    ordered = np.sort(np.asarray(scores, dtype=float))
    reached = np.cumsum(weights(len(ordered), n))
    return ordered[np.minimum(np.searchsorted(reached, np.asarray(levels) - 1e-12), len(ordered) - 1)]


def stable_from(curves: Sequence[np.ndarray]) -> int | None:
    """From how many trials on the rows keep the order that they end with; None if it changes at the last one."""
    common = min(map(len, curves))
    orders = [tuple(np.argsort([curve[n] for curve in curves], kind="stable")) for n in range(common)]
    same = [n for n in range(common) if set(orders[n:]) == {orders[-1]} and np.isfinite([c[n] for c in curves]).all()]
    return same[0] + 1 if same and (same[0] + 1 < common or common == 1) else None


def milestones(most: int) -> list[int]:
    """1, 2, 4 ... and `most`."""
    return [*(2**k for k in range(most.bit_length()) if 2**k < most), most]


def told(rows: Mapping[str, Tuning]) -> str:
    """The curves in a line: at 1, 2, 4 ... trials, and whether the order of the rows depends on their number."""
    rows = {name: tuning for name, tuning in rows.items() if tuning.tried}
    if not rows:
        return ""
    first = next(iter(rows.values()))
    most = max(len(tuning.tried) for tuning in rows.values())
    at = milestones(most)
    parts = []
    for name, tuning in rows.items():
        curve = tuning.best_of
        values = [
            f"{curve[n - 1]:.{tuning.digits}f}" if math.isfinite(curve[n - 1]) else "—" for n in at if n <= len(curve)
        ]
        parts.append(f"{name} {', '.join(values)}")
    text = f"expected lowest {first.quantity} after {', '.join(map(str, at))} trials: {'; '.join(parts)}"
    curves = [tuning.best_of for tuning in rows.values()]
    if len(rows) < 2 or most < 2 or not all(np.isfinite(curve[-1]) for curve in curves):
        return text
    since = stable_from(curves)
    return text + (
        ". The order of the rows is the same whatever the number of trials" if since == 1
        else f". The rows keep their order from {since} trials on" if since
        else ". The order of the rows changes up to the last trial: it depends on how much was tuned"
    )  # fmt: skip
