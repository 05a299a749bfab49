"""What each word of an ablation is worth: beside all the others, alone, and over every combination where all were run.

Everything is a *gain* in the unit of the judged number: positive where the word makes it better, whichever way that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from dlreg.report.factorial import effect, shapley
from dlreg.report.folds import overlap
from dlreg.report.metrics import METRICS
from dlreg.report.stats import Stat
from dlreg.report.table import Row, Table
from dlreg.report.verdicts import Difference
from dlreg.run.result import replicate

On = frozenset[str]  # the words of a row


@dataclass(frozen=True)
class Gain:
    """One comparison of the table, read as what the words gain that tell its two rows apart."""

    stat: Stat | None  # with the interval that the table's verdict rests on, if it rests on one
    verdict: str  # helps | hurts | equivalent within M | not decided | identical | why there is none
    seeds_needed: int | None = None


@dataclass(frozen=True)
class Factorial:
    """Over all 2^k combinations: the mean over seeds, and its interval by Student's t, each by itself."""

    total: Stat
    shares: dict[str, Stat]
    main: dict[str, Stat]
    interactions: dict[tuple[str, str], Stat]


@dataclass(frozen=True)
class Effects:
    """Of an ablation."""

    metric: str
    beside: dict[str, Gain]  # what is lost when that word alone is left out of all
    alone: dict[str, Gain]  # what is gained when that word alone is added to none
    total: Gain  # all against none
    factorial: Factorial | None = None
    why_not: str = ""  # every combination was planned, and yet there is no `factorial`, because ...

    def as_data(self) -> dict[str, Any]:
        """For JSON: what each word gains beside the others and alone, all together, and over every combination."""
        gains = {"beside": self.beside, "alone": self.alone}
        found: dict[str, Any] = {
            "metric": self.metric,
            "total": asdict(self.total),
            **{name: {word: asdict(gain) for word, gain in of.items()} for name, of in gains.items()},
        }
        if f := self.factorial:
            for name, stats in (("shares", f.shares), ("main", f.main)):
                found[name] = {word: asdict(stat) for word, stat in stats.items()}
            found["total_of_shares"] = asdict(f.total)
            found["interactions"] = [{"words": list(both), **asdict(stat)} for both, stat in f.interactions.items()]
        return found

    @property
    def title(self) -> str:
        """Of the axis of gains."""
        metric = METRICS[self.metric]
        return f"gain: {'less' if metric.better == 'lower' else 'more'} {metric.title}"

    @property
    def names(self) -> list[str]:
        """The words."""
        return list(self.beside)

    def gains(self) -> Iterator[Stat]:
        """Every number that bars are drawn for, on one scale."""
        for gain in (*self.beside.values(), *self.alone.values()):
            if gain.stat:
                yield gain.stat
        if self.factorial:
            yield from self.factorial.shares.values()


def effects(table: Table, names: Sequence[str], rows: Sequence[On], turned: Table | None = None) -> Effects:
    """Read out of the table whose rows have these words on; `turned` holds the comparisons with *none* where rows have both."""
    everything, nothing = frozenset(names), frozenset[str]()
    place = {on: i for i, on in enumerate(rows)}
    better = -1 if METRICS[table.metrics[0]].better == "lower" else 1

    def lost(on: On) -> Gain:
        return _gain(table.rows[place[on]].difference, -better, ("hurts", "helps"))

    def added(on: On) -> Gain:
        return _gain((turned or table).rows[place[on]].difference, better, ("helps", "hurts"))

    whole, why_not = None, ""
    if len(rows) == 2 ** len(names) and len(names) > 1:
        ordered = [table.rows[place[_words(mask, names)]] for mask in range(2 ** len(names))]
        why_not = _broken(ordered)
        whole = None if why_not else _factorial(table, names, ordered)
        why_not = why_not or ("" if whole else "no seed has a number in every row")
    return Effects(
        table.metrics[0],
        {name: lost(everything - {name}) for name in names},
        {name: added(frozenset({name})) for name in names},
        lost(nothing),
        whole,
        why_not,
    )


def _words(mask: int, names: Sequence[str]) -> On:
    return frozenset(name for i, name in enumerate(names) if mask >> i & 1)


def _gain(d: Difference | None, sign: int, says: tuple[str, str]) -> Gain:
    """`says`: what it means of the words that the row is better, and that it is worse."""
    if d is None:
        return Gain(None, "no runs")
    if d.judged and d.stat:
        verdict = d.verdict.replace("better", says[0]).replace("worse", says[1])
        return Gain(_times(d.stat, sign), verdict, d.seeds_needed)
    known = d.stat if d.verdict in ("identical", "needs seeds") else None
    return Gain(_times(replace(known, low=None, high=None), sign) if known else None, d.verdict)


def _times(stat: Stat, sign: int) -> Stat:
    if sign > 0:
        return stat
    low, high = (None if end is None else 0.0 - end for end in (stat.high, stat.low))
    return replace(stat, mean=0.0 - stat.mean, low=low, high=high)


def _broken(rows: Sequence[Row]) -> str:
    """The rows that lost seeds: every run stands in every contrast."""
    bad = [(row.name, [f"{row.status[s]} {s}" for s in ("diverged", "failed") if row.status.get(s)]) for row in rows]
    return "; ".join(f"{name}: {', '.join(lost)}" for name, lost in bad if lost)


def _factorial(table: Table, names: Sequence[str], rows: Sequence[Row]) -> Factorial | None:
    """Over the seeds that every row has; None if there is none."""
    metric = METRICS[table.metrics[0]]
    by_seed = [
        {replicate(r.config): v for r in row.runs if (v := metric.of(r, table.select)) is not None} for row in rows
    ]
    seeds = sorted(set.intersection(*(set(values) for values in by_seed)))
    if not seeds:
        return None
    sign = -1 if metric.better == "lower" else 1
    gains = sign * np.array([[values[seed] for seed in seeds] for values in by_seed])

    def stat(values: np.ndarray) -> Stat:
        found = Stat.of(values.tolist(), overlap=overlap(run for row in rows for run in row.runs))
        assert found
        return found

    return Factorial(
        stat(gains[-1] - gains[0]),
        {name: stat(shapley(gains, i)) for i, name in enumerate(names)},
        {name: stat(effect(gains, i)) for i, name in enumerate(names)},
        {(names[i], names[j]): stat(effect(gains, i, j)) for i, j in combinations(range(len(names)), 2)},
    )
