"""`log=layers`: what went on in the layers, epoch by epoch, for the page of `dlreg report`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlreg import durable
from dlreg.log.base import Begun, Look, Tracker

FILE = "layers.json"


class Layers(Tracker):
    """`layers.json` in the run's folder: of each epoch and layer the norms of activation, weight, gradient, update; dead units.

    Measured after each epoch on one batch, by a copy of the model that takes one step more and is then forgotten: the run
    itself is the same to the bit, with `log=layers` or without. `dlreg report` shows the first, the middle and the last epoch.
    A run that is done already is measured by `log=layers rerun=true`.
    """

    def __init__(self) -> None:
        self.path = Path()
        self.rows: dict[tuple[int, int], dict[str, Any]] = {}

    def begin(self, run: Begun) -> None:
        """Take up what an earlier part of the run measured."""
        self.path = run.folder / FILE
        if self.path.exists():
            self.rows = {(row["fit"], row["epoch"]): row for row in durable.read_json(self.path)["epochs"]}

    def layers(self, row: Mapping[str, Any], look: Look) -> None:
        """Look, and write the file again."""
        found = [{key: _finite(value) for key, value in dataclasses.asdict(layer).items()} for layer in look()]
        self.rows[row["fit"], row["epoch"]] = {"fit": row["fit"], "epoch": row["epoch"], "layers": found}
        durable.write_json(self.path, {"epochs": list(self.rows.values())})


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
