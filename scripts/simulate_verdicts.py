"""How often a table's verdicts are false, and how often they find a difference: paired t-tests with Holm's correction; now.

`python scripts/simulate_verdicts.py` prints the table in seconds. Differences are in standard deviations of the paired
differences of two ordinary rows.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from dlreg.report.contrasts import measure
from dlreg.report.stats import holm

TABLES = 10_000
EFFECT = 2.5


def shares(tables: np.ndarray) -> list[np.ndarray]:
    """Which rows get a verdict: by Holm, and by the table's own test. (tables, rows - 1) each."""
    found = measure(tables, [(i, 0) for i in range(1, tables.shape[1])])
    return [p < 0.05 for p in (holm(found.p), found.p_adjusted)]


def main() -> None:
    rng = np.random.default_rng(0)
    print("| seeds | rows | equal | one row 3x | control 3x | spreads 1 to 4 | t(3) | power |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for seeds, rows in itertools.product((3, 5, 10), (3, 8, 20)):
        one = np.ones(rows)
        spreads = [one, np.r_[one[1:], 3], np.r_[3, one[1:]], np.geomspace(1, 4, rows)]
        noises = [rng.normal(size=(TABLES, rows, seeds)) * spread[:, None] for spread in spreads]
        noises.append(rng.standard_t(3, (TABLES, rows, seeds)))
        cells = [[s.any(-1).mean() for s in shares(noise)] for noise in noises]
        shifted = rng.normal(size=(TABLES, rows, seeds)) * math.sqrt(0.5)
        shifted[:, 1] += EFFECT
        cells.append([s[:, 0].mean() for s in shares(shifted)])
        print(f"| {seeds} | {rows} | " + " | ".join(f"{old:.3f} {new:.3f}" for old, new in cells) + " |", flush=True)
    print(f"old new: share of tables with a false verdict; power at a difference of {EFFECT} sd")


if __name__ == "__main__":
    main()
