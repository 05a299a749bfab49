"""The observers of a run: the display, and the trackers that `log` names. A tracker's failure is a remark, no more."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from typing import Any

from dlreg.config.build import build
from dlreg.config.schema import Settings
from dlreg.errors import UserError, shown
from dlreg.log.base import Begun, Look, Tracker
from dlreg.run.claim import Claim
from dlreg.run.loop import Report
from dlreg.run.result import Result


def make_trackers(settings: Settings) -> dict[str, Tracker]:
    """The trackers, of which none was told anything yet.

    Raises:
        UserError: a package that one of them needs is not installed.
    """
    trackers: dict[str, Tracker] = {word: build("log", node) for word, node in settings.log.items()}
    for word, tracker in trackers.items():
        if tracker.needs and importlib.util.find_spec(tracker.needs) is None:
            raise UserError(
                f"log={word} needs {tracker.needs}, which is not installed: pip install 'dlreg[{tracker.needs}]'"
            )
    return trackers


class Tracked:
    """`dlreg.run.loop.Report` of a claimed run: tells the display, then every tracker that has not failed yet."""

    def __init__(self, report: Report, trackers: Mapping[str, Tracker], claim: Claim) -> None:
        self.report, self.trackers, self.claim = report, dict(trackers), claim
        self.remarks: list[str] = []

    def begin(self, run: Begun) -> None:
        """Tell the trackers what is run."""
        self._tell("begin", run)

    def step(self, done: float, loss: float) -> None:
        """Only the display: a tracker is not asked inside an epoch."""
        self.report.step(done, loss)

    def epoch(self, row: dict[str, Any]) -> None:
        """A row of the history, before its checkpoint; each tracker has a copy of its own.

        Raises:
            Busy: another process took the run over.
        """
        self.claim.check()
        self.report.epoch(row)
        self._tell("epoch", row)

    def layers(self, row: dict[str, Any], look: Look) -> None:
        """Only the trackers, and measured only if one of them looks."""
        self._tell("layers", row, functools.cache(look))

    def write(self, result: Result) -> None:
        """Keep the result, and only then tell the trackers, of which one may hang. What fails there is a remark as well.

        Raises:
            Busy: another process took the run over; nothing was written. OSError: it cannot be written.
        """
        result.remarks += self.remarks
        self.claim.publish(result.packed())
        known = len(self.remarks)
        self._tell("end", result.status, _final(result) if result.status == "done" else {})
        if new := self.remarks[known:]:
            result.remarks += new
            result.write(self.claim.folder)

    def _tell(self, moment: str, *what: Any) -> None:
        for word, tracker in list(self.trackers.items()):
            try:
                getattr(tracker, moment)(*(dict(w) if isinstance(w, dict) else w for w in what))
            except Exception as error:  # whatever a program of others, a network or a full disk came up with
                del self.trackers[word]
                self.remarks.append(f"log={word} failed: {shown(f'{type(error).__name__}: {error}', 200)}")


def _final(result: Result) -> dict[str, float]:
    """`test_error`, `val_loss`, `train_error` of the last epoch's weights, `best_val_test_error` of the best's; seconds."""
    found = {f"train_{k}": v for k, v in (result.train or {}).items()}
    for part, selected in (("val", result.val), ("test", result.test)):
        for select, metrics in (selected or {}).items():
            prefix = "" if select == "last" else f"{select}_"
            found |= {f"{prefix}{part}_{k}": v for k, v in (metrics or {}).items()}
    numbers = found | {"seconds": result.seconds}
    return {k: float(v) for k, v in numbers.items() if isinstance(v, int | float)}
