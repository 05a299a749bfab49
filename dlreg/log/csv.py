"""`log=csv`: the history as a file, while the run goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlreg import durable
from dlreg.log.base import Begun, Tracker


class Csv(Tracker):
    """`history.csv` in the run's folder: one line per epoch, written anew after each, and a column per number.

    A run that goes on after an interruption goes on in the same file.
    """

    def __init__(self) -> None:
        self.path = Path()
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}

    def begin(self, run: Begun) -> None:
        """Take up the lines that an earlier part of the run wrote."""
        self.path = run.folder / "history.csv"
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.rows = {(row["fit"], row["epoch"]): row for row in csv.DictReader(file)}

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write the file again, with this row."""
        self.rows[str(row["fit"]), str(row["epoch"])] = dict(row)
        text = io.StringIO()
        names = ["fit", *(key for key in row if key != "fit")]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        durable.write_atomic(self.path, text.getvalue().encode())
