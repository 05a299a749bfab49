"""Runs as data frames, one row per run or one per epoch, to go on with in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dlreg.report.label import describe
from dlreg.report.metrics import JUDGED, METRICS
from dlreg.run.result import Result

if TYPE_CHECKING:
    import pandas as pd


def runs_frame(results: Iterable[Result]) -> pd.DataFrame:
    """What a run was (`reg`, `reg.dropout.p`, ...), how it ended, and its numbers at the last epoch, errors in percent."""
    import pandas as pd

    return pd.DataFrame([_words(r) | {name: METRICS[name].of(r, "last") for name in JUDGED} for r in results])


def epochs_frame(results: Iterable[Result]) -> pd.DataFrame:
    """What a run was, and the history of each epoch, errors in percent."""
    import pandas as pd

    return pd.DataFrame([_words(r) | {key: _percent(key, value) for key, value in row.items()}
                         for r in results for row in r.history])  # fmt: skip


def _words(result: Result) -> dict[str, Any]:
    found = {key: value for key, value in describe(result.config).items() if "_target_" not in key}
    told = {"run_id": result.run_id, "status": result.status, "seed": result.config["seed"]}
    return told | found | {"folder": str(result.folder)}


def _percent(key: str, value: float | None) -> float | None:
    return 100 * value if value is not None and key.endswith("error") else value
