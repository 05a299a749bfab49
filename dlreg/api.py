"""dlreg in Python: the functions that the commands call, under the commands' words. `import dlreg` finds them here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from dlreg.run.result import Select


def load(run: str | Path, select: Select = "last", *, root: str | None = None) -> nn.Module:
    """The model of a finished run in evaluation mode: inputs `(N, ...)` in [0, 1] (features as they are) -> logits `(N, K)`.

    `run` is its folder, or its name in `outputs`; `select` is `last`, the weights after the last epoch, or `best_val`, those
    of the epoch with the lowest validation error; `root` is where the run's data lie if they were moved.

    Raises:
        UserError: there is no such run, it is not done, it kept no weights, or its data are not there.
    """
    from dlreg.run.reopen import reopen

    return reopen(run, select, root).model
