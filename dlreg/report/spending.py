"""Looking several times: the numbers of seeds at which a table is judged, and the share of the 5 % that each look may spend.

Group sequential testing. If look k tests at level alpha_k, and the alpha_k sum to 5 %, then in at most 5 % of tables any look
says something false, whenever and why ever the looking ends (union bound: nothing is assumed about how looks hang together).
The shares are the steps of a spending function of the share t = n_k / n_max of the seeds (Lan & DeMets 1983,
https://doi.org/10.1093/biomet/70.3.659), the one like Pocock's boundary:

    alpha(t) = 5 % ln(1 + (e - 1) t),   alpha_k = alpha(n_k / n_max) - alpha(n_(k-1) / n_max)

which leaves enough for the first looks to find large differences. The one like O'Brien and Fleming's boundary spends nothing
to speak of before half of the seeds are there: here, where a seed costs what the next one costs, that wastes seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dlreg.report.stats import ALPHA

PLANNED = (3, 5, 8, 12, 20)  # seeds at the looks; three tell the least that can be told about a row's spread
MAX_SEEDS = 20


@dataclass(frozen=True)
class Looks:
    """At how many seeds a table is judged, at most `max_seeds`; the seeds are 0, 1, 2, ..."""

    max_seeds: int = MAX_SEEDS

    @property
    def counts(self) -> list[int]:
        """The seeds of every look, the last look at `max_seeds`: beyond 20 they grow by two thirds."""
        found = list(PLANNED)
        while found[-1] < self.max_seeds:
            found.append(math.ceil(found[-1] * 5 / 3))
        return [*(n for n in found if n < self.max_seeds), self.max_seeds]

    @property
    def levels(self) -> list[float]:
        """What each look spends; together ALPHA."""
        spent = [0.0, *(spending(n / self.max_seeds) for n in self.counts)]
        return [after - before for before, after in zip(spent, spent[1:], strict=False)]


def spending(share: float) -> float:
    """How much of ALPHA the looks may have spent when this share of the seeds is there."""
    return ALPHA * math.log(1 + (math.e - 1) * share)
