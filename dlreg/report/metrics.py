"""The numbers of a finished run, by the names that the command line and a study give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dlreg.run.result import Result, Select


@dataclass(frozen=True)
class Metric:
    """A number of a finished run, in the unit that tables print."""

    title: str
    of: Callable[[Result, Select], float | None]
    better: Literal["lower", "higher"]
    digits: int = 2
    counted: bool = False  # a percentage of the test images, so that it comes in steps


def _of_split(split: str, key: str, scale: float = 100.0) -> Callable[[Result, Select], float | None]:
    def value(result: Result, select: Select) -> float | None:
        metrics = getattr(result, split)
        if metrics and split != "train":
            metrics = metrics[select]
        found = metrics.get(key) if metrics else None
        return None if found is None else scale * found

    return value


def _gap(result: Result, select: Select) -> float | None:
    test, train = METRICS["test_error"].of(result, select), METRICS["train_error"].of(result, select)
    return None if test is None or train is None else test - train


METRICS = {
    "test_error": Metric("test error %", _of_split("test", "error"), "lower", counted=True),
    "top5_error": Metric("top-5 error %", _of_split("test", "top5_error"), "lower", counted=True),
    "nll": Metric("test NLL", _of_split("test", "loss", 1.0), "lower", digits=4),
    "ece": Metric("test ECE %", _of_split("test", "ece"), "lower"),
    "fgsm_error": Metric("FGSM error %", _of_split("test", "fgsm_error"), "lower", counted=True),
    "pgd_error": Metric("PGD error %", _of_split("test", "pgd_error"), "lower", counted=True),
    "robust_error": Metric("robust error %", _of_split("test", "robust_error"), "lower", counted=True),
    "val_robust_error": Metric("val robust error %", _of_split("val", "robust_error"), "lower"),
    "val_error": Metric("val error %", _of_split("val", "error"), "lower"),
    "train_error": Metric("train error %", _of_split("train", "error"), "lower"),
    "train_loss": Metric("train loss", _of_split("train", "loss", 1.0), "lower", digits=4),
    "gap": Metric("gap", _gap, "lower"),
    "seconds": Metric("seconds", lambda result, select: result.seconds, "lower", digits=1),
}
