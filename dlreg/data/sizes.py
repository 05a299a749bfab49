"""How many samples, and which, are held out of a training split."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dlreg.errors import UserError

Size = Annotated[float, Field(ge=0, lt=1)] | Annotated[int, Field(ge=0)]
Folds = Annotated[int, Field(ge=2)]


def held_out(n: int, val_size: Size, folds: int | None, fold: int) -> tuple[int, int]:
    """From where to where in the order of `n` samples the validation set lies.

    Raises:
        UserError: there is no such fold.
    """
    if folds is None:
        if fold:
            raise UserError(f"data.fold={fold} is one of a cross-validation: give data.folds as well")
        return 0, count(val_size, n)
    if folds > n or fold >= folds:
        raise UserError(f"data.fold={fold} of data.folds={folds}: allowed: folds up to {n} (samples), fold below folds")
    return n * fold // folds, n * (fold + 1) // folds


def count(size: float, n: int) -> int:
    """A size below 1 is a fraction of `n`, a whole number a count."""
    return size if isinstance(size, int) else round(size * n)
