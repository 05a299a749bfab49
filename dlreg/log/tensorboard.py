"""`log=tensorboard`: event files in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlreg.log.base import Begun, Tracker, curves, flat


class TensorBoard(Tracker):
    """Event files in the run's folder: `tensorboard --logdir outputs` draws the curves of every run, named by its folder.

    The config stands under Text, the final numbers are scalars `final/test_error` and so on.
    https://pytorch.org/docs/stable/tensorboard.html
    """

    needs = "tensorboard"

    def __init__(self) -> None:
        self.writer: Any = None

    def begin(self, run: Begun) -> None:
        """Open an event file."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run.folder))
        self.writer.add_text("config", "  \n".join(f"{key}: {value}" for key, value in flat(run.config).items()))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One point on each curve."""
        for name, value in curves(row).items():
            self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """The final numbers."""
        for name, value in metrics.items():
            self.writer.add_scalar(f"final/{name}", value)
        self.writer.add_text("status", status)
        self.writer.close()
