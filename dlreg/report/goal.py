"""A study's `reaches: 98`: is a row's mean beyond a number that was named beforehand, or can luck have put it there?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dlreg.report.metrics import METRICS, Select
from dlreg.report.table import Row


def told(rows: Sequence[Row], metric: str, select: Select) -> str:
    """A sentence for each row that has a goal; nothing if none has."""
    parts = [f"{row.quoted}: {_told(row, row.goal, metric, select)}" for row in rows if row.goal is not None]
    how = "p: of a mean as far beyond the goal, were the true mean the goal (one-sided t-test over seeds, each row by itself)"
    return f"{'; '.join(parts)}. {how}" if parts else ""


def p_value(values: np.ndarray, goal: float, higher: bool) -> float | None:
    """P(T_{n-1} >= t), t = (mean - goal) / (sd / sqrt(n)), or of -t where lower is better; None without a spread."""
    from scipy import special  # slow to load

    if len(values) < 2 or values.min() == values.max():
        return None
    t = (values.mean() - goal) / (values.std(ddof=1) / math.sqrt(len(values)))
    return float(special.stdtr(len(values) - 1, -t if higher else t))


def _told(row: Row, goal: float, metric: str, select: Select) -> str:
    found = METRICS[metric]
    values = np.array([v for run in row.runs if (v := found.of(run, select)) is not None])
    planned, higher = sum(row.status.values()), found.better == "higher"
    if len(values) < planned:
        return f"{len(values)} of {planned} runs have a number, which say nothing of reaching {goal:g}"
    p = p_value(values, goal, higher)
    beyond = f"mean {values.mean():.{found.digits}f}, goal {'above' if higher else 'below'} {goal:g}"
    return f"{beyond}, p {'not known' if p is None else '< .0001' if p < 1e-4 else f'= {p:.4f}'.replace('0.', '.')}"
