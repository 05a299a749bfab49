"""A table judged at growing numbers of seeds, each row until its verdict is settled: replayed from the runs that are there.

Nothing is remembered from look to look but what the runs say, so that the command that adds seeds and the table made later
from the same folders agree. A row is settled by any verdict but "not decided", and by a run that diverged or failed, which no
further seed mends. Settled rows stay in the family that the tests are corrected for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dlreg.report.spending import Looks
from dlreg.report.stats import ALPHA
from dlreg.report.verdicts import UNDECIDED, Difference, Rows, Rule, Verdicts, verdicts

At = Callable[[Sequence[int]], tuple[Rows, Sequence[int]]]  # seeds of each row -> what is compared, and runs not ended
WAITS = "waits for the look at"


@dataclass(frozen=True)
class Looked:
    """What the looks found."""

    found: Verdicts
    seeds: list[int]  # by row: how many it is to have by now
    stopped: list[int | None]  # by row: at which number of seeds its verdict was settled; None: it is not, or has none
    levels: list[float]  # by row: what the last look that it was part of spent


def replay(at: At, controls: Sequence[int | None], rule: Rule, looks: Looks) -> Looked:
    """Look after look, as far as the runs go. A row without a control goes on while one that is compared with it does."""
    seeds, levels = [0] * len(controls), [0.0] * len(controls)
    stopped: list[int | None] = [None] * len(controls)
    settled: dict[int, Difference] = {}
    tests: dict[str, list[str]] = {}
    going, waits, found = set(range(len(controls))), False, Verdicts([])
    for n, alpha in zip(looks.counts, looks.levels, strict=True):
        for i in going:
            seeds[i], levels[i] = n, alpha
        rows, unended = at(seeds)
        if waits := any(unended[i] for i in going):
            rows = replace(rows, barred={i: f"{WAITS} {n} seeds" for i in going} | dict(rows.barred))
        level = replace(rule, alpha=alpha, alpha_best=min(looks.levels))
        found = verdicts(replace(rows, settled=settled), level)
        if found.test:
            tests.setdefault(found.test, []).append(str(n))
        compared = {i for i in going if controls[i] is not None and stopped[i] is None}
        still = {i for i in compared if (d := found.differences[i]) and d.verdict.startswith((UNDECIDED, WAITS))}
        for i in compared - still:
            stopped[i] = n
        settled |= {i: d for i in compared - still if (d := found.differences[i])}
        going = still | {j for i in still if (j := controls[i]) is not None}
        if waits or not still:
            break
    test = "; ".join(f"at {', '.join(at_seeds)} seeds {words}" for words, at_seeds in tests.items())
    return Looked(replace(found, test=test, best=None if waits else found.best), seeds, stopped, levels)


def told(looked: Looked, names: Sequence[str], looks: Looks) -> str:
    """The footer's line: the looks, what each spends, where each row stopped."""
    spent = ", ".join(f"{n} ({100 * alpha:.2f} %)" for n, alpha in zip(looks.counts, looks.levels, strict=True))
    places: dict[str, list[str]] = {}
    for name, n, stopped, difference in zip(names, looked.seeds, looked.stopped, looked.found.differences, strict=True):
        if stopped:
            places.setdefault(f"stopped at {stopped}", []).append(name)
        elif difference and difference.verdict == UNDECIDED:
            places.setdefault(f"not decided though max_seeds={n} was reached", []).append(name)
        elif difference:
            places.setdefault(difference.verdict, []).append(name)
    if not places:
        return f"one, at {looks.counts[0]} seeds: no row is compared with another"
    where = "; ".join(f"{place}: {', '.join(who)}" for place, who in places.items())
    return (
        f"at {spent} seeds, each spending its part of the {100 * ALPHA:g} % (as Lan and DeMets after Pocock; union bound), so "
        "that a row could stop once its verdict was settled. Intervals and tests are at the level of the look at which a row "
        f"stopped, and hold whenever that was. {where[:1].upper()}{where[1:]}"
    )
