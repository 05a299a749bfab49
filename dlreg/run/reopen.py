"""A finished run's model again, as it was evaluated: its settings make the structure anew, its weights fill it."""

from __future__ import annotations

import copy
import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlreg import durable
from dlreg.config.check import settings as checked
from dlreg.config.schema import Settings
from dlreg.context import Context
from dlreg.data.base import Data, Split
from dlreg.data.task import word_of
from dlreg.errors import UserError, shown
from dlreg.passes import device_of
from dlreg.reg.base import Fitted
from dlreg.run.artifacts import WEIGHTS
from dlreg.run.by_class import by_class
from dlreg.run.evaluate import Criterion, evaluate
from dlreg.run.folder import run_folder
from dlreg.run.machine import autocast, resolve
from dlreg.run.parts import load, make_chain, make_criterion, make_data, make_parts
from dlreg.run.predictions import Predictions
from dlreg.run.result import Result, Select, read

ALONE: dict[str, Any] = {"start": None, "fresh": []}  # the weights of a run do not ask what they began as


@dataclass(frozen=True)
class Opened:
    """A finished run with its data and its model: in evaluation mode, on the run's device or else on the CPU."""

    result: Result
    folder: Path
    settings: Settings
    data: Data
    model: nn.Module
    criterion: Criterion
    names: tuple[str, ...]  # of the classes
    select: Select = "last"

    @functools.cached_property
    def test(self) -> Split:
        """The run's test set."""
        return self.data.test.open()

    def predict(self, split: Split) -> tuple[Predictions, dict[str, Any]]:
        """What the model says of samples, through the very function that evaluated it, and the metrics."""
        kept: list[Tensor] = []
        metrics = evaluate(self.model, split, self.criterion, autocast(self.settings), kept.append)
        outputs = torch.cat(kept).cpu()
        metrics |= by_class(outputs, split, self.data.train)
        if word_of(split.y) == "values":
            return Predictions(np.asarray(split.y.cpu()), np.asarray(outputs), None), metrics
        knows = getattr(self.criterion, "softmax", True)
        probabilities = np.asarray(outputs.double().softmax(1)) if knows else None
        return Predictions(np.asarray(split.y.cpu()), np.asarray(outputs.argmax(1)), probabilities), metrics


def reopen(run: str | Path, select: Select = "last", root: str | None = None) -> Opened:
    """The run in a folder, or of that name in `outputs`; `root` is where its data lie, if they were moved.

    Raises:
        UserError: there is no such run, it is not done, it kept no weights, or its data are not there.
    """
    folder = run_folder(run)
    try:
        result = read(folder)
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from None
    if result is None or result.status != "done":
        raise UserError(
            f"{folder} is {result.status if result else 'not finished'}: only a run that is done has a model"
        )
    settings = settings_of(result)
    if root is not None:
        settings = settings.model_copy(update={"data": settings.data | {"root": root}})
    dataset = load(settings.data)
    data = make_data(settings, dataset)
    made = structure(settings.model_copy(update=ALONE), data)
    model = _filled(made, folder, select)
    names = dataset.names or tuple(map(str, range(dataset.classes)))
    return Opened(result, folder, settings, data, model.eval(), make_criterion(settings, data), names, select)


def settings_of(result: Result) -> Settings:
    """The settings that a result was made with, checked as those of a command line are; on the CPU for want of its device."""
    settings = checked({key: value for key, value in result.config.items() if key != "content"})
    try:
        return resolve(settings)
    except UserError:
        return settings.model_copy(update={"device": "cpu"})


def structure(settings: Settings, data: Data) -> Fitted:
    """What `train` and every `finish` make of models that were not trained: the modules that a run's weights fit."""
    chain = make_chain(settings)
    chain.begin("chain", Context(settings.seed, torch.device(settings.device)))
    return chain.train(functools.partial(_untrained, settings), data)


def _untrained(settings: Settings, data: Data, *, note: dict[str, Any] | None = None, **options: Any) -> Fitted:
    """`fit(data)` without the training. The keyword arguments are those of `dlreg.reg.base.Fit`."""
    seed = options.get("seed")
    parts = make_parts(settings, data, settings.seed if seed is None else seed)
    parts.context.note = note or {}
    best = copy.deepcopy(parts.model) if len(data.val) else None  # before `finish`, as the loop keeps it
    keys = ("train_loss", "train_error", "train_mse", "val_loss", "val_error", "val_mse", "lr", "seconds")
    row = {"epoch": 1} | dict.fromkeys(keys, 0.0)
    return Fitted(parts.reg.finish(parts.model), best, [row], 1, criterion=parts.criterion)


def _filled(made: Fitted, folder: Path, select: Select) -> nn.Module:
    content = durable.read_listed(folder, WEIGHTS)
    if content is None:
        why = "are damaged" if (folder / WEIGHTS).exists() else "were not kept (save_weights=false)"
        raise UserError(f"{folder}: its weights {why}")
    device = device_of(made.last)
    saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    if select not in saved:
        raise UserError(f"{folder} has no {select} weights; it has {', '.join(saved)}")
    model = made.last if select == "last" else made.best_val
    try:
        if model is None:
            raise RuntimeError("no such model is made any more")
        model.load_state_dict(saved[select])
    except RuntimeError as error:
        raise UserError(
            f"{folder}: its weights do not fit the model that its settings make now: {shown(error, 200)}"
        ) from None
    return model
