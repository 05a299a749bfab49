"""What may be said of each row of a table: better, worse, equivalent, identical, not decided, or why nothing can be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dlreg.report.contrasts import LEAST_PAIRS, LEAST_SEEDS, OWN, Contrasts, detectable, measure
from dlreg.report.images import Crossed
from dlreg.report.question import Population
from dlreg.report.stats import ALPHA, Stat, holm

Values = Mapping[int, float]  # seed -> the judged number
Pair = tuple[int, int]  # a row and its control
UNDECIDED = "not decided"
MOST_SEEDS = 100  # beyond which no number of seeds is advised


@dataclass(frozen=True)
class Rule:
    """By what the values are judged, in their unit."""

    resolution: float = 0.0  # the step in which they come
    lower_is_better: bool = True
    margin: float | None = None  # differences below it do not matter
    population: Population = "seeds"  # over what a difference must hold: new seeds alone, or new test images as well
    alpha: float = ALPHA  # the family-wise error rate, and of the intervals what they may miss
    alpha_best: float = ALPHA  # likewise, for the best row to differ from the others


@dataclass(frozen=True)
class Difference:
    """What a row adds to its control over the seeds that both have, in the metric's unit."""

    stat: Stat | None  # with the interval that the verdict rests on; None where the two cannot be compared
    verdict: str  # better | worse | equivalent within M | not decided | identical | needs seeds | why there is none
    p: float | None = None  # paired t-test
    p_adjusted: float | None = None  # for the family of the table's comparisons
    p_equivalent: float | None = None  # likewise, that the difference is not within the margin
    detectable: float | None = (
        None  # the smallest difference that as many seeds show with 80 % power, by the row's own spread
    )
    images: Stat | None = None  # the difference over new seeds and new test images, by itself
    seeds_needed: int | None = None  # that would settle a difference like this one, with 80 % power

    @property
    def judged(self) -> bool:
        """Whether it stands in the family of comparisons that the correction is for."""
        return self.p is not None


@dataclass(frozen=True)
class Verdicts:
    """Of a table: one difference for each row that has a control, the test that was used, and the best row if there is one."""

    differences: list[Difference | None]
    test: str = ""
    best: int | None = None


@dataclass(frozen=True)
class Rows:
    """What is compared: each row's values, the row it is compared with, and what keeps it from being judged."""

    values: Sequence[Values]
    controls: Sequence[int | None]
    barred: Mapping[int, str] = field(default_factory=dict)  # row -> why no verdict is given on it
    apart: Mapping[int, str] = field(default_factory=dict)  # row -> why it has no difference at all
    same: frozenset[int] = frozenset()  # rows whose runs are their control's
    images: Mapping[int, Crossed] = field(
        default_factory=dict
    )  # row -> its difference over seeds and images, where known
    settled: Mapping[int, Difference] = field(default_factory=dict)  # of rows that were judged at an earlier look
    overlap: float = 0.0  # of cross-validation: n_test / n_train

    def shared(self, i: int, j: int) -> list[int]:
        """The seeds that both rows have."""
        return [seed for seed in self.values[i] if seed in self.values[j]]

    def judgeable(self, i: int, j: int) -> bool:
        """Whether row i can be tested against row j."""
        return i not in self.same and not {i, j} & {*self.barred, *self.apart} and len(self.shared(i, j)) > 1

    def matrix(self) -> np.ndarray:
        """(rows, seeds), NaN where a row has no such seed. Seeds that no two rows share tell of no difference."""
        seeds = sorted({seed for row in self.values for seed in row})
        return np.array([[row.get(seed, np.nan) for seed in seeds] for row in self.values])


def verdicts(rows: Rows, rule: Rule) -> Verdicts:
    """The verdict on every row that has a control; rows that can be judged, or were, are one family."""
    compared = [(i, j) for i, j in enumerate(rows.controls) if j is not None]
    pairs = [(i, j) for i, j in compared if i not in rows.settled and rows.judgeable(i, j)]
    before = [(i, j) for i, j in compared if i in rows.settled and rows.settled[i].judged]
    found = _measured(rows, pairs, rule, before) if pairs else None
    judged = _judged(found, rule, [rows.images.get(i) for i, _ in pairs]) if found else []
    by_row: dict[int, Difference | None] = {**rows.settled, **{i: d for (i, _), d in zip(pairs, judged, strict=True)}}
    differences = [
        None if j is None else by_row[i] if i in by_row else _unjudged(rows, i, j) for i, j in enumerate(rows.controls)
    ]
    test = _words(found, rule.alpha) if found else ""
    return Verdicts(differences, test, _best(rows, differences, rule))


def _measured(rows: Rows, pairs: Sequence[Pair], rule: Rule, before: Sequence[Pair] = ()) -> Contrasts:
    matrix = rows.matrix()
    used = sorted({i for pair in pairs for i in pair})
    seeds = np.isfinite(matrix[used]).any(0)
    return measure(matrix[:, seeds], pairs, rule.resolution, [*pairs, *before], rows.overlap)


def _judged(found: Contrasts, rule: Rule, images: Sequence[Crossed | None]) -> list[Difference]:
    half, p, adjusted = found.half_width(rule.alpha), found.p, found.p_adjusted
    tests = sum(found.stars)
    equivalent = None if rule.margin is None else found.p_equivalent(rule.margin)
    if rule.population == "images":  # both must say so; judge lets in only rows that have a record of the images
        known = [c for c in images if c]
        adjusted = np.maximum(adjusted, holm(np.array([float(c.p) for c in known]), tests))
        if rule.margin is not None and equivalent is not None:
            apart = holm(np.array([float(c.p_equivalent(rule.margin)) for c in known]), tests)
            equivalent = np.maximum(equivalent, apart)
    rows = found.df // (found.seeds - 1) + 1 if found.pooled else None
    differences = []
    for k, mean in enumerate(found.mean.tolist()):
        n, sd, raw = int(found.n[k]), float(found.sd[k]), float(found.raw_sd[k])
        stat = Stat(n, mean, raw, mean - float(half[k]), mean + float(half[k]))
        same = None if equivalent is None else float(equivalent[k])
        verdict = _verdict(mean, float(adjusted[k]), same, rule)
        least = sd * detectable(n, tests, rows, alpha=rule.alpha) if sd else None
        needed = _needed(stat, sd, rule, (tests, rows)) if verdict == UNDECIDED and not found.overlap else None
        over = _over_images(images[k], n, rule.alpha)
        differences.append(Difference(stat, verdict, float(p[k]), float(adjusted[k]), same, least, over, needed))
    return differences


def _over_images(found: Crossed | None, n: int, alpha: float) -> Stat | None:
    if found is None:
        return None
    mean, half = float(found.mean), float(found.half_width(alpha))
    return Stat(n, mean, None, mean - half, mean + half)


def _verdict(mean: float, p: float, p_equivalent: float | None, rule: Rule) -> str:
    within = f"within {rule.margin:g}" if p_equivalent is not None and p_equivalent < rule.alpha else ""
    if p < rule.alpha:
        word = "better" if (mean < 0) == rule.lower_is_better else "worse"
        return f"{word}, {within}" if within else word
    return f"equivalent {within}" if within else UNDECIDED


def _needed(stat: Stat, sd: float, rule: Rule, family: tuple[int, int | None]) -> int | None:
    """The fewest seeds with which a difference of this size, or one that far inside the margin, is shown with 80 % power."""
    goal = max(abs(stat.mean), (rule.margin or 0.0) - abs(stat.mean))
    more = range(stat.n + 1, MOST_SEEDS + 1)
    return next((n for n in more if sd * detectable(n, *family, alpha=rule.alpha) <= goal), None)


def _unjudged(rows: Rows, i: int, j: int) -> Difference | None:
    if why := rows.apart.get(i):
        return Difference(None, why)
    differences = [rows.values[i][seed] - rows.values[j][seed] for seed in rows.shared(i, j)]
    stat = Stat.of(differences, overlap=rows.overlap)
    if why := rows.barred.get(i) or (rows.barred.get(j) and f"baseline: {rows.barred[j]}"):
        return Difference(stat, why)
    if stat is None:
        return None
    return Difference(stat, "identical" if i in rows.same else "needs seeds")


def _words(found: Contrasts, alpha: float) -> str:
    """The test that was used, and why."""
    pairs = sum(found.stars)
    level, own = ("5 %", f"{100 * OWN:g} %") if alpha == ALPHA else ("the look's level", "two fifths of it")
    if found.pooled:
        return (
            f"Dunnett's test over {pairs} rows at {level}, on the spread pooled from all of them ({found.df} degrees of "
            f"freedom; no row's spread stands out), and each row's own paired t-test at {own}: a verdict needs both; "
            "95 % of Δ: of all rows together"
        )
    if pairs == 1:
        return f"a paired t-test at {level}"
    why = (
        f"fewer than {LEAST_PAIRS} rows to pool" if pairs < LEAST_PAIRS
        else f"fewer than {LEAST_SEEDS} seeds" if found.seeds < LEAST_SEEDS
        else "rows have different seeds" if not found.complete
        else "a row's spread stands out, so spreads are not pooled"
    )  # fmt: skip
    return (
        f"paired t-tests with Holm's correction over {pairs} rows at {level} ({why}); 95 % of Δ: of each row by itself, not "
        "corrected, so that one without 0 can stand beside a verdict that is not decided"
    )


def _best(rows: Rows, differences: Sequence[Difference | None], rule: Rule) -> int | None:
    """The row with the best mean, if it differs from *every* other row by the table's test; else None.

    Against its control the table's own verdict counts. Against the other rows, which the verdicts say nothing of, the best is
    the control of a family of its own, at single steps: Dunnett's, or where spreads are not pooled a Bonferroni correction
    over all pairs of rows. A false best needs a row as good as it to fail one of these: far below 5 % beside the verdicts' 5 %
    (`tests/test_verdicts.py` simulates both together). Rows without a verdict are neither the best nor in its way, unless
    their mean is the best.
    """
    there = [i for i, row in enumerate(rows.values) if row]
    sign = 1 if rule.lower_is_better else -1
    top = min(there, key=lambda i: sign * sum(rows.values[i].values()) / len(rows.values[i]), default=None)
    if top is None or top in rows.barred or top in rows.apart:
        return None
    own = differences[top]
    if rows.controls[top] is not None and (own is None or not own.verdict.startswith("better")):
        return None
    others = [i for i in there if i not in (top, rows.controls[top]) and not {i} & {*rows.barred, *rows.apart}]
    if not others and own is None:
        return None
    if all(rows.controls[i] == top for i in others):
        worse = [d is not None and d.verdict.startswith("worse") for d in (differences[i] for i in others)]
        return top if all(worse) else None
    if not all(rows.judgeable(i, top) for i in others):
        return None
    found = _measured(rows, [(i, top) for i in others], rule)
    compared = len(others) + 1 + (rows.controls[top] is not None)
    p = found.p_adjusted if found.pooled else found.p * (compared * (compared - 1) / 2)
    return top if bool((p < rule.alpha_best).all()) and bool((sign * found.mean > 0).all()) else None
