"""`log=mlflow`: a run of MLflow for each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlreg.log.base import Begun, Tracker, curves, flat

LONGEST = 500  # characters of a parameter that every store of MLflow takes


class MLflow(Tracker):
    """A run of MLflow named as the run's folder: config as parameters, curves and final numbers as metrics.

    `uri` is the tracking server or folder; null leaves it to MLflow (MLFLOW_TRACKING_URI, else its own default).
    https://mlflow.org/docs/latest/ml/tracking/
    """

    needs = "mlflow"

    def __init__(self, *, experiment: str, uri: str | None) -> None:
        self.experiment, self.uri = experiment, uri
        self.client: Any = None
        self.run = ""

    def begin(self, run: Begun) -> None:
        """Make the run; a client of our own leaves a notebook's active run alone."""
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(self.uri)
        known = self.client.get_experiment_by_name(self.experiment)
        where = known.experiment_id if known else self.client.create_experiment(self.experiment)
        self.run = self.client.create_run(where, run_name=run.name).info.run_id
        parameters = [Param(key, str(value)[:LONGEST]) for key, value in flat(run.config).items()]
        self.client.log_batch(self.run, params=parameters[:100])  # as many as one request may hold
        self.client.log_batch(self.run, params=parameters[100:])

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One point on each curve."""
        for name, value in curves(row).items():
            self.client.log_metric(self.run, name, value, step=row["epoch"])

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """The final numbers, and how it ended in MLflow's words."""
        for name, value in metrics.items():
            self.client.log_metric(self.run, f"final/{name}", value)
        self.client.set_tag(self.run, "dlreg.status", status)
        ended = {"done": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED")
        self.client.set_terminated(self.run, ended)
