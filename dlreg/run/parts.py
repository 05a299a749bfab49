"""Settings -> the parts of one fit. Every part comes from `config.build`."""

from __future__ import annotations

import copy
import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlreg.config.build import build
from dlreg.config.schema import Settings
from dlreg.context import Context, Progress, derive_seed
from dlreg.data.base import Data, Dataset, prepare
from dlreg.errors import UserError
from dlreg.model.blocks import weight_layers
from dlreg.norm.layers import none
from dlreg.optimizer.kernels import spare_the_compiler
from dlreg.reg.base import Chain
from dlreg.schedule.base import multiplier

COMMON_DATA = [p.name for p in inspect.signature(prepare).parameters.values() if p.kind is p.KEYWORD_ONLY]


def resolve(settings: Settings) -> Settings:
    """Replace what `auto` stands for on this machine, so that the config of a run says what was done.

    Raises:
        UserError: the device asked for is not there.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    index = int(device.split(":")[1]) if ":" in device else 0
    if not there[kind] or (kind == "cuda" and index >= torch.cuda.device_count()):
        here = ", ".join(name for name, is_there in there.items() if is_there)
        raise UserError(f"device={settings.device} is not available; this machine has {here}")
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return settings.model_copy(update={"device": device, "precision": precision})


def load(node: Mapping[str, Any]) -> Dataset:
    """The data set that the `data` options describe, checked. Kept in memory: a sweep reads it once."""
    key = repr(sorted((k, v) for k, v in node.items() if k == "root" or k not in COMMON_DATA))
    if key not in _loaded:
        dataset = build("data", node)(Path(node["root"]).expanduser(), node["download"])
        _loaded.clear()  # one at a time: a sweep over data sets must not hold them all
        _loaded[key] = dataset.checked(f"data={node['name']}")
    return _loaded[key]


_loaded: dict[str, Dataset] = {}


def autocast(settings: Settings) -> AbstractContextManager[Any]:
    """bfloat16 arithmetic where torch holds it safe, or nothing."""
    if settings.precision == "bf16":
        return torch.autocast(settings.device.split(":")[0], torch.bfloat16)
    return nullcontext()


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
    return nn.Sequential(OrderedDict(input=copy.deepcopy(data.normalization), net=net))


def idle_norm(settings: Settings, data: Data) -> str | None:
    """One line if `norm` found no layer to act on, as normalization over positions does in a fully connected network."""
    word, model = settings.norm["name"], settings.model["name"]
    if word == "none":
        return None
    make = build("model", settings.model)
    with torch.random.fork_rng(devices=[]):
        found = {repr(make(data.shape, data.classes, norm)) for norm in (none, build("norm", settings.norm))}
    return f"norm={word} changed nothing: model={model} has no layer for it" if len(found) == 1 else None


def make_data(settings: Settings, dataset: Dataset, seed: int) -> Data:
    """The sets of one run, on its device."""
    return prepare(dataset, seed, torch.device(settings.device), **{k: settings.data[k] for k in COMMON_DATA})


def make_chain(settings: Settings) -> Chain:
    """The augmentations and the regularizers, in the order of the command line."""
    options = [(g, word, node) for g in ("aug", "reg") for word, node in getattr(settings, g).items()]
    return Chain({word: build(group, node) for group, word, node in options})


def make_schedule(settings: Settings) -> Callable[[Progress], float]:
    """The multiplier of the learning rate, warmup included."""
    return functools.partial(multiplier, build("schedule", settings.schedule), warmup=settings.schedule["warmup"])


def make_parts(settings: Settings, data: Data, seed: int) -> tuple[Context, nn.Module, torch.optim.Optimizer, Chain]:
    """What one fit works with, each set up and on the device."""
    context = Context(seed, torch.device(settings.device), data.pixel_mean, data.upright)
    model = make_model(settings, data, seed).to(context.device)
    reg = make_chain(settings)
    reg.begin("chain", context)
    model = reg.setup(model)
    optimizer = build("optimizer", settings.optimizer)([p for p in model.parameters() if p.requires_grad])
    return context, model, spare_the_compiler(optimizer), reg
