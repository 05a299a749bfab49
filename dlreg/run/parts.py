"""Settings -> the parts of one fit. Every part comes from `config.build`."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlreg.config.build import build, plugins
from dlreg.config.contract import reason
from dlreg.config.schema import Settings
from dlreg.context import Context, Progress, derive_seed
from dlreg.data.base import Data, Dataset, prepare
from dlreg.data.normalize import ToDouble
from dlreg.errors import UserError
from dlreg.loss.base import Loss, class_weights
from dlreg.model.blocks import weight_layers
from dlreg.norm.layers import none
from dlreg.optimizer.idle import Idle
from dlreg.optimizer.kernels import lean
from dlreg.optimizer.stride import strides
from dlreg.reg.base import Chain
from dlreg.run.loop import Loop
from dlreg.run.machine import autocast
from dlreg.run.memory import remember
from dlreg.run.stack import Stack
from dlreg.run.start import begun, freeze
from dlreg.run.step import Parts
from dlreg.schedule.base import multiplier

COMMON_LOSS = [p.name for p in inspect.signature(class_weights).parameters.values() if p.kind is p.KEYWORD_ONLY]
COMMON_DATA = [p.name for p in inspect.signature(prepare).parameters.values() if p.kind is p.KEYWORD_ONLY]


def load(node: Mapping[str, Any]) -> Dataset:
    """The data set that the `data` options describe, checked. Kept in memory: a sweep reads it once."""
    key = repr(sorted((k, v) for k, v in node.items() if k == "root" or k not in COMMON_DATA))
    if key not in _loaded:
        dataset = _read(node)
        _loaded.clear()  # one at a time: a sweep over data sets must not hold them all
        _loaded[key] = dataset.checked(f"data={node['name']}")
    return _loaded[key]


def _read(node: Mapping[str, Any]) -> Dataset:
    """What the source returns, if it is a data set; what goes wrong in a source of somebody's own is its user's to mend."""
    source = build("data", node)
    try:
        found = source(Path(node["root"]).expanduser(), node["download"])
    except (UserError, OSError):
        raise
    except Exception as error:
        if os.environ.get("DLREG_DEBUG"):
            raise
        raise UserError(
            f"data={node['name']} cannot be made: {reason(error, plugins())} (DLREG_DEBUG=1 shows where)"
        ) from error
    if not isinstance(found, Dataset):
        raise UserError(f"data={node['name']} must return a Dataset; it returned {type(found).__name__}")
    return found


_loaded: dict[str, Dataset] = {}


def make_model(settings: Settings, data: Data, seed: int) -> nn.Module:
    """Input normalization and the network, initialized on the CPU so that every device starts from the same weights."""
    init_seed = derive_seed(seed, "init")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        net = build("model", settings.model)(data.shape, data.classes, build("norm", settings.norm))
    fill = build("init", settings.init)
    generator = torch.Generator().manual_seed(init_seed)
    for layer in weight_layers(net):
        fill(layer, generator)
    first = copy.deepcopy(data.normalization)
    if settings.precision == "fp64":
        first = nn.Sequential(ToDouble(), first)
    return nn.Sequential(OrderedDict(input=first, net=net)).to(data.dtype)


def idle_norm(settings: Settings, data: Data) -> str | None:
    """One line if `norm` found no layer to act on, as normalization over positions does in a fully connected network."""
    word, model = settings.norm["name"], settings.model["name"]
    if word == "none":
        return None
    make = build("model", settings.model)
    with torch.random.fork_rng(devices=[]):
        found = {repr(make(data.shape, data.classes, norm)) for norm in (none, build("norm", settings.norm))}
    return f"norm={word} changed nothing: model={model} has no layer for it" if len(found) == 1 else None


def make_data(settings: Settings, dataset: Dataset) -> Data:
    """The sets of one run, on its device and in its precision."""
    common = {k: settings.data[k] for k in COMMON_DATA}
    dtype = torch.float64 if settings.precision == "fp64" else torch.float32
    cast = dataclasses.replace(dataset, train=dataset.train.floats(dtype), test=dataset.test.floats(dtype))
    data = prepare(cast, settings.seed, torch.device(settings.device), **common)
    return dataclasses.replace(data, dtype=dtype)


def make_chain(settings: Settings) -> Chain:
    """The augmentations and the regularizers, in the order of the command line."""
    options = [(g, word, node) for g in ("aug", "reg") for word, node in getattr(settings, g).items()]
    return Chain({word: build(group, node) for group, word, node in options})


def make_schedule(settings: Settings) -> Callable[[Progress], float]:
    """The multiplier of the learning rate, warmup included."""
    return functools.partial(multiplier, build("schedule", settings.schedule), warmup=settings.schedule["warmup"])


def make_criterion(settings: Settings, data: Data) -> Loss:
    """The loss, with the weights of the classes of this training set.

    Raises:
        UserError: it is not of what the data set holds.
    """
    node, task = settings.loss, data.task.word
    criterion: Loss = build("loss", node)
    if task not in criterion.tasks:
        fitting = "mse or mae" if task == "values" else "cross_entropy"
        raise UserError(
            f"loss={node['name']} is of {' or '.join(criterion.tasks)}, and data={settings.data['name']} has {task}; "
            f"give loss={fitting}"
        )
    weighing = {key: node[key] for key in COMMON_LOSS}
    if task == "values" and node["class_weight"] != "none":
        raise UserError(
            f"loss.class_weight={node['class_weight']} weighs classes, and data={settings.data['name']} has values; give none"
        )
    counts = data.train.y.bincount(minlength=data.classes) if task == "classes" else torch.zeros(0)
    criterion.begin(task, class_weights(counts, **weighing))
    return criterion


def idle_weights(settings: Settings, data: Data) -> str | None:
    """One line if classes were to be weighed and all weigh the same."""
    word = settings.loss["class_weight"]
    if word == "none" or make_criterion(settings, data).weights is not None:
        return None
    return f"loss.class_weight={word} changed nothing: no class weighs more than another"


def make_parts(
    settings: Settings, data: Data, seed: int, pretrained: Callable[[nn.Module], None] = lambda model: None
) -> Parts:
    """What one fit works with, each set up and on the device; `pretrained` trains the model before anything looks at it."""
    context = Context(seed, torch.device(settings.device), data.pixel_mean, data.upright, data.train.x)
    criterion, missed = make_criterion(settings, data), data.task.missed
    context.pool = data.pool
    context.criterion, context.softmax = criterion, criterion.softmax
    model = begun(make_model(settings, data, seed), settings).to(context.device)
    remember(model, data)
    pretrained(model)
    freeze(model, settings.freeze)
    reg = make_chain(settings)
    reg.begin("chain", context)
    model = reg.setup(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = build("optimizer", settings.optimizer)(trained) if trained else Idle()
    context.strides = strides(optimizer)
    context.optimizer_decay = max(group.get("weight_decay") or 0.0 for group in optimizer.param_groups)
    parts = Parts(model, lean(optimizer), reg, context, autocast(settings), criterion, missed)
    parts.stack = Stack.of(parts)
    return parts


def make_loop(settings: Settings, n: int, steps: int | None = None) -> Loop:
    """How to go over n training samples."""
    size = n if settings.batch_size == "full" else min(settings.batch_size, n)
    return Loop(settings.epochs, size, settings.sampler, make_schedule(settings), steps)
