"""The predictions of a finished run, on its test set or on other data, as a data frame and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dlreg.config.compose import compose
from dlreg.config.schema import Settings
from dlreg.data.base import Split
from dlreg.errors import UserError
from dlreg.report.data import disarmed
from dlreg.run.parts import load, make_data
from dlreg.run.predictions import Predictions
from dlreg.run.reopen import Opened, reopen
from dlreg.run.result import Select
from dlreg.run.robust import Attacker, under_attack

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predicted:
    """Predictions, the names of the classes, and the metrics."""

    predictions: Predictions
    names: Sequence[str]
    metrics: dict[str, Any]
    attack: dict[str, Any]  # of the run

    @property
    def attacked(self) -> dict[str, float | None]:
        """The errors under the run's attack, from `fgsm` up to `robust`; empty if it has none."""
        return under_attack(self.attack, self.metrics)

    def frame(self) -> pd.DataFrame:
        """`index, true, predicted` and a column of probabilities for each class; values are numbered if there are several."""
        import pandas as pd

        found = self.predictions
        columns: dict[str, Any] = {"index": range(len(found.labels))}
        if found.labels.ndim > 1:
            several = found.labels.shape[1] > 1
            for i in range(found.labels.shape[1]):
                columns |= {f"true {i}" if several else "true": found.labels[:, i]}
                columns |= {f"predicted {i}" if several else "predicted": found.predicted[:, i]}
            return pd.DataFrame(columns)
        columns |= {
            "true": [self.names[i] for i in found.labels],
            "predicted": [self.names[i] for i in found.predicted],
        }
        if found.probabilities is not None:
            columns |= {f"p({name})": found.probabilities[:, i] for i, name in enumerate(self.names)}
        return pd.DataFrame(columns)


def predicted(run: str, words: Sequence[str], folders: Sequence[str] = (), select: Select = "last") -> Predicted:
    """What a run's model says of its test set, or of that of other data, which `data=` and `data.KEY=` words name.

    Raises:
        UserError: there is no such run, its data are not there, or the samples are of another shape.
    """
    root = next((word.partition("=")[2] for word in words if word.startswith("data.root=")), None)
    other = any(word.startswith("data=") for word in words)
    opened = reopen(run, select, None if other else root)
    if not words:  # what was measured under attack need not be measured again
        found = _of(opened, opened.test)
        measured = (opened.result.test or {}).get(select) or {}
        return replace(found, metrics={**measured, **found.metrics})
    settings = _elsewhere(opened, words, folders)
    dataset, shape = load(settings.data), tuple(opened.data.shape)
    if tuple(dataset.test.x.shape[1:]) != shape or dataset.test.x.dtype != opened.data.train.x.dtype:
        kinds = [
            f"{tuple(x.shape[1:])} {str(x.dtype).removeprefix('torch.')}" for x in (dataset.test.x, opened.data.train.x)
        ]
        raise UserError(
            f"data={settings.data['name']}: its samples are {kinds[0]}, and the run was trained on {kinds[1]}"
        )
    if dataset.classes > opened.data.classes:
        raise UserError(
            f"data={settings.data['name']} has {dataset.classes} classes, and the run knows {opened.data.classes}"
        )
    split = make_data(settings, dataset).test.open()
    found, (errors, _) = _of(opened, split), Attacker.of(settings, opened.criterion).errors(opened.model, split)
    return replace(found, metrics=found.metrics | errors)


def as_csv(found: Predicted) -> str:
    """The frame as CSV; a class name that a spreadsheet would run as a formula is disarmed."""
    frame = found.frame()
    words = frame.select_dtypes(exclude="number").columns
    frame[words] = frame[words].map(disarmed)
    return frame.rename(columns=disarmed).to_csv(index=False, lineterminator="\n", float_format="%.6g").rstrip("\n")


def _of(opened: Opened, split: Split) -> Predicted:
    found, metrics = opened.predict(split)
    return Predicted(found, opened.names, metrics, opened.settings.attack)


def _elsewhere(opened: Opened, words: Sequence[str], folders: Sequence[str]) -> Settings:
    """The run's settings with other data: where they are of the same option, its keys hold unless said otherwise."""
    own = opened.settings.data
    named = [] if any(word.startswith("data=") for word in words) else [f"data={own['name']}"]
    composed = compose([*named, *words], folders).data
    given = {word.partition("=")[0].removeprefix("data.") for word in words}
    if named:
        composed = {key: composed[key] if key in given else own[key] for key in own}
    return opened.settings.model_copy(update={"data": composed})
