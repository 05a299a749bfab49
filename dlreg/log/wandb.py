"""`log=wandb`: a run of Weights & Biases for each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dlreg.log.base import Begun, Tracker, curves


class Wandb(Tracker):
    """A run of Weights & Biases under the name of the run's folder: config, curves, and final numbers in its summary.

    `mode=offline` writes below the run's folder, and `wandb sync` sends it later; `online` sends it at once. A run that goes
    on after an interruption goes on under the same name. https://docs.wandb.ai/ref/python/
    """

    needs = "wandb"

    def __init__(self, *, project: str, mode: Literal["offline", "online"]) -> None:
        self.project, self.mode = project, mode
        self.run: Any = None

    def begin(self, run: Begun) -> None:
        """Make the run, or take it up."""
        import wandb

        self.run = wandb.init(
            project=self.project,
            mode=self.mode,
            id=run.name,
            name=run.name,
            dir=str(run.folder),
            config=dict(run.config),
            resume="allow",
        )

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One point on each curve."""
        self.run.log(curves(row) | {"epoch": row["epoch"]})

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """The final numbers."""
        self.run.summary.update({f"final/{name}": value for name, value in metrics.items()} | {"status": status})
        self.run.finish(exit_code=0 if status in ("done", "diverged") else 1)
