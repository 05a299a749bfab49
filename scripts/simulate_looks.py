"""How often a table is wrong when seeds are added until its rows are settled, how many seeds that takes, and what it finds.

`python scripts/simulate_looks.py` prints both tables in minutes. Differences are in standard deviations of the paired
differences of two ordinary rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dlreg.report.contrasts import measure
from dlreg.report.spending import Looks
from dlreg.report.stats import ALPHA

TABLES = 4000
EFFECTS = (1.0, 2.0, 2.5)


def looked(
    tables: np.ndarray, counts: Sequence[int], levels: Sequence[float], margin: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`(verdicts, seeds)`, each (tables, rows - 1): 1 different, -1 equivalent, 0 neither; the seeds at which a row stopped.

    Every row is compared with the first. As `dlreg.report.looks.replay` does it with one table; tables whose rows stopped at
    the same looks are measured together.
    """
    total, rows, _ = tables.shape
    verdicts, stopped = np.zeros((total, rows - 1), int), np.full((total, rows - 1), counts[-1])
    pairs = [(i, 0) for i in range(1, rows)]
    for n, alpha in zip(counts, levels, strict=True):
        patterns = np.where(verdicts != 0, stopped, 0)
        for pattern in np.unique(patterns, axis=0):
            going = np.flatnonzero(pattern == 0)
            if not len(going):
                continue
            which = np.flatnonzero((patterns == pattern).all(-1))
            there = np.arange(n) < np.r_[n, np.where(pattern == 0, n, pattern)][:, None]
            values = np.where(there, tables[which, :, :n], np.nan)
            found = measure(values, [pairs[i] for i in going], 0.0, pairs)
            verdict = (found.p_adjusted < alpha).astype(int)
            if margin is not None:
                verdict -= (verdict == 0) & (found.p_equivalent(margin) < alpha)
            at = np.ix_(which, going)
            verdicts[at] = verdict
            stopped[at] = np.where(verdict != 0, n, stopped[at])
    return verdicts, stopped


def ways(looks: Looks) -> dict[str, tuple[list[int], list[float]]]:
    """seeds=auto, the naive habit, and fixed numbers of seeds, each as looks and what they spend."""
    naive = [ALPHA] * len(looks.counts)
    fixed = {f"{n} seeds": ([n], [ALPHA]) for n in (3, 5, 20)}
    return {"auto": (looks.counts, looks.levels), "naive": (looks.counts, naive), **fixed}


def noises(rng: np.random.Generator, rows: int, seeds: int) -> dict[str, np.ndarray]:
    """Tables without a difference."""
    one, size = np.ones(rows), (TABLES, rows, seeds)
    spreads = {
        "equal": one, "one row 3x": np.r_[one[1:], 3], "one row 5x": np.r_[one[1:], 5], "control 3x": np.r_[3, one[1:]],
        "control 5x": np.r_[5, one[1:]], "spreads 1 to 4": np.geomspace(1, 4, rows),
        "half 3x": np.where(np.arange(rows) % 2, 3.0, 1.0),
    }  # fmt: skip
    found = {name: rng.normal(size=size) * spread[:, None] for name, spread in spreads.items()}
    found["t(3)"] = rng.standard_t(3, size)
    found["1 in 10 5x"] = rng.normal(size=size) * np.where(rng.random(size) < 0.1, 5, 1)
    return found


def main() -> None:
    rng, looks = np.random.default_rng(0), Looks(20)
    print("share of tables without a difference in which a row gets a verdict")
    for rows in (3, 8, 20):
        for name, tables in noises(rng, rows, looks.max_seeds).items():
            auto, naive = ((looked(tables, *ways(looks)[way])[0] != 0).any(-1).mean() for way in ("auto", "naive"))
            print(f"| {rows} | {name} | {auto:.3f} | {naive:.3f} |", flush=True)
    print("power, and mean seeds of the row that differs")
    for rows in (3, 8, 20):
        for effect in EFFECTS:
            tables = rng.normal(size=(TABLES, rows, looks.max_seeds)) * math.sqrt(0.5)
            tables[:, 1] += effect
            cells = []
            for way, plan in ways(looks).items():
                if way != "naive":
                    verdicts, seeds = looked(tables, *plan)
                    cells.append(f"{(verdicts[:, 0] != 0).mean():.3f} ({seeds[:, 0].mean():.1f})")
            print(f"| {rows} | {effect} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
