"""The numbers of a finished run, by the names that the command line and a study give them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dlreg.report.decomposition import Term, term
from dlreg.report.folds import overlap
from dlreg.report.stats import LEVEL, Stat
from dlreg.run.result import Result, Select

Of = Callable[[Result, Select], float | None]
Over = Callable[[Sequence[Result], Select], Sequence[float]]
RATE = (0.0, 100.0)


@dataclass(frozen=True)
class Metric:
    """A number of a finished run, in the unit that tables print."""

    title: str
    of: Of
    better: Literal["lower", "higher"]
    digits: int = 2
    limits: tuple[float, float] = (-math.inf, math.inf)  # where every value lies, and so every mean
    counted: bool = False  # a percentage of the test images, so that it comes in steps
    about: str = "these test samples"  # what a verdict holds for, where it is not images that are counted
    per_image: int = 0  # the sign with which an image that is guessed wrong enters; 0: it does not enter so
    over: Over | None = None  # of all runs of a row together, which no run has alone: values whose mean it is

    def stat(self, runs: Iterable[Result], select: Select, level: float = LEVEL) -> Stat | None:
        """Over runs, with the interval of their mean at this level; None if none has the number."""
        runs = list(runs)
        values = self.over(runs, select) if self.over else [self.of(run, select) for run in runs]
        found = Stat.of(values, level, overlap(runs))
        return found and found.within(*self.limits)


def _of_split(split: str, key: str, scale: float = 100.0) -> Of:
    def value(result: Result, select: Select) -> float | None:
        metrics = getattr(result, split)
        if metrics and split != "train":
            metrics = metrics[select]
        found = metrics.get(key) if metrics else None
        return None if found is None else scale * found

    return value


def _right(wrong: Of) -> Of:
    """The accuracy of an error."""

    def value(result: Result, select: Select) -> float | None:
        error = wrong(result, select)
        return None if error is None else 100 - error

    return value


def _nll(result: Result, select: Select) -> float | None:
    """The mean cross entropy of classes: the loss itself in runs that do not name it apart."""
    metrics = result.test[select] if result.test else None
    return metrics.get("nll", metrics["loss"]) if metrics and "error" in metrics else None


def _mean_train_loss(result: Result, select: Select) -> float | None:
    """Over all epochs: how fast the training set was fitted, in one number that every run has."""
    losses = [loss for row in result.history if (loss := row["train_loss"]) is not None]
    return sum(losses) / len(losses) if losses else None


def _on_the_way(share: float) -> Of:
    """The validation error when so much of the training is over."""

    def value(result: Result, select: Select) -> float | None:
        epoch = math.ceil(share * len(result.history))
        found = result.history[epoch - 1].get("val_error") if epoch else None
        return None if found is None else 100 * found

    return value


def _measure(key: str, place: int | None = None) -> Of:
    """A measure of a linear model, or one of a list of them."""

    def value(result: Result, select: Select) -> float | None:
        found: Any = result.measures.get(select, {}).get(key)
        if found is None or place is None:
            return found
        return found[place] if place < len(found) else None

    return value


def _term(title: str, name: Term) -> Metric:
    """A part of the expected squared error."""
    over: Over = functools.partial(term, name)
    limits = (-math.inf, math.inf) if name == "bias2" else _POSITIVE
    return Metric(title, lambda result, select: None, "lower", digits=4, limits=limits, over=over)


def _gap(result: Result, select: Select) -> float | None:
    test, train = METRICS["test_error"].of(result, select), METRICS["train_error"].of(result, select)
    return None if test is None or train is None else test - train


_TEST, _TOP5 = _of_split("test", "error"), _of_split("test", "top5_error")
_VAL, _TRAIN, _ROBUST = _of_split("val", "error"), _of_split("train", "error"), _of_split("test", "robust_error")
_POSITIVE = (0.0, math.inf)
_BALANCED = _of_split("test", "balanced_error")
COEFFICIENTS = 10  # w0, ..., w9 have columns

DATA = "this data"  # of which each seed trains on and validates with a part of its own

METRICS = {
    "test_error": Metric("test error %", _TEST, "lower", limits=RATE, counted=True, per_image=1),
    "accuracy": Metric("test accuracy %", _right(_TEST), "higher", limits=RATE, counted=True, per_image=-1),
    "top5_error": Metric("top-5 error %", _TOP5, "lower", limits=RATE, counted=True),
    "top5_accuracy": Metric("top-5 accuracy %", _right(_TOP5), "higher", limits=RATE, counted=True),
    "balanced_error": Metric("balanced error %", _BALANCED, "lower", limits=RATE),
    "balanced_accuracy": Metric("balanced accuracy %", _right(_BALANCED), "higher", limits=RATE),
    "head_error": Metric("head error %", _of_split("test", "head_error"), "lower", limits=RATE),
    "middle_error": Metric("middle error %", _of_split("test", "middle_error"), "lower", limits=RATE),
    "tail_error": Metric("tail error %", _of_split("test", "tail_error"), "lower", limits=RATE),
    "parity_error": Metric("parity error %", _of_split("test", "parity_error"), "lower", limits=RATE, counted=True),
    "rotation_error": Metric(
        "rotation error %", _of_split("test", "rotation_error"), "lower", limits=RATE, counted=True
    ),
    "nll": Metric("test NLL", _nll, "lower", digits=4, limits=_POSITIVE),
    "ece": Metric("test ECE %", _of_split("test", "ece"), "lower", limits=RATE),
    "fgsm_error": Metric("FGSM error %", _of_split("test", "fgsm_error"), "lower", limits=RATE, counted=True),
    "pgd_error": Metric("PGD error %", _of_split("test", "pgd_error"), "lower", limits=RATE, counted=True),
    "robust_error": Metric("robust error %", _ROBUST, "lower", limits=RATE, counted=True),
    "robust_accuracy": Metric("robust accuracy %", _right(_ROBUST), "higher", limits=RATE, counted=True),
    "val_robust_error": Metric(
        "val robust error %", _of_split("val", "robust_error"), "lower", limits=RATE, about=DATA
    ),
    "val_error": Metric("val error %", _VAL, "lower", limits=RATE, about=DATA),
    "val_accuracy": Metric("val accuracy %", _right(_VAL), "higher", limits=RATE, about=DATA),
    "train_error": Metric("train error %", _TRAIN, "lower", limits=RATE, about=DATA),
    "train_accuracy": Metric("train accuracy %", _right(_TRAIN), "higher", limits=RATE, about=DATA),
    "train_loss": Metric(
        "train loss", _of_split("train", "loss", 1.0), "lower", digits=4, limits=_POSITIVE, about=DATA
    ),
    "mean_train_loss": Metric("mean train loss", _mean_train_loss, "lower", digits=4, limits=_POSITIVE, about=DATA),
    "val_error_quarter": Metric("val error % at a quarter", _on_the_way(0.25), "lower", limits=RATE, about=DATA),
    "val_error_half": Metric("val error % at half", _on_the_way(0.5), "lower", limits=RATE, about=DATA),
    "test_mse": Metric("test MSE", _of_split("test", "mse", 1.0), "lower", digits=4, limits=_POSITIVE),
    "r2": Metric("test R²", _of_split("test", "r2", 1.0), "higher", digits=4, limits=(-math.inf, 1.0)),
    "val_mse": Metric("val MSE", _of_split("val", "mse", 1.0), "lower", digits=4, limits=_POSITIVE, about=DATA),
    "train_mse": Metric("train MSE", _of_split("train", "mse", 1.0), "lower", digits=4, limits=_POSITIVE, about=DATA),
    "bias2": _term("bias²", "bias2"),
    "variance": _term("variance", "variance"),
    "noise": _term("noise", "noise"),
    "weight_norm": Metric("‖w‖", _measure("weight_norm"), "lower", limits=_POSITIVE, about=DATA),
    "nonzeros": Metric("non-zero weights", _measure("nonzeros"), "lower", digits=0, limits=_POSITIVE, about=DATA),
    "condition": Metric("condition number", _measure("condition"), "lower", limits=(1.0, math.inf), about=DATA),
    **{f"w{i}": Metric(f"w{i}", _measure("coefficients", i), "lower", about=DATA) for i in range(COEFFICIENTS)},
    "gap": Metric("gap", _gap, "lower"),
    "seconds": Metric(
        "seconds", lambda result, select: result.seconds, "lower", digits=1, limits=_POSITIVE, about="this machine"
    ),
}

JUDGED = [name for name, metric in METRICS.items() if not metric.over]  # what a run has, and what can be compared
