"""The schedule that watches the validation loss."""

from __future__ import annotations

import functools

from dlreg.context import Progress
from dlreg.errors import UserError
from dlreg.hyper import Fraction, Natural


def plateau(
    progress: Progress, *, factor: Fraction, patience: Natural, threshold: Fraction, cooldown: Natural, final: Fraction
) -> float:
    """$$factor^k$$, not below `final`: k grows by one when `patience` + 1 epochs brought no val loss < $(1 - threshold) best$.

    torch's ReduceLROnPlateau in its relative mode,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html. For `cooldown` epochs
    after a reduction nothing is counted. k follows from the history of val losses alone, so a resumed run needs no other
    state. A preview has no history: there the val loss never improves.
    """
    if progress.val_losses is None:
        raise UserError(
            "schedule=plateau watches the validation loss, but this fit has no validation set: data.val_size=0, or what "
            "trains on all data"
        )
    return max(final, factor ** _reductions(progress.val_losses, patience, threshold, cooldown))


@functools.lru_cache(maxsize=1)  # the history is the same at every step of an epoch
def _reductions(val_losses: tuple[float, ...], patience: int, threshold: float, cooldown: int) -> int:
    count, bad, cooling, best = 0, 0, 0, float("inf")
    for loss in val_losses:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad > patience:
            count, bad, cooling = count + 1, 0, cooldown
    return count
