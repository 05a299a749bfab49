"""What an experiment may say: the groups of options, and one experiment's settings."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dlreg.hyper import Count, Natural


@dataclass(frozen=True)
class Group:
    """What the options of one group are."""

    kind: str  # "module:Class" that an option is, or returns
    runtime: tuple[str, ...] = ()  # what dlreg passes when it calls the option; empty: the option is built at once
    stack: bool = False  # several options at a time, each nested under its own word
    verbs: tuple[str, ...] = ()  # of a class: the methods of which it must have one
    common: str = ""  # "module:function" whose keyword-only parameters every option of the group shares
    positive: tuple[str, ...] = ()  # hyperparameters that are above 0, whoever wrote the option


_MOMENTS = ("train", "setup", "batch", "penalty", "gradient", "project", "end_epoch", "finish")

GROUPS = {
    "data": Group("dlreg.data.base:Dataset", ("root", "download"), common="dlreg.data.base:prepare"),
    "model": Group("torch.nn:Module", ("shape", "classes", "norm"), verbs=("forward",)),
    "init": Group("builtins:NoneType", ("layer", "generator")),
    "norm": Group("torch.nn:Module", ("layer",)),
    "optimizer": Group("torch.optim:Optimizer", ("params",), verbs=("step",), positive=("lr",)),
    "schedule": Group("builtins:float", ("progress",), common="dlreg.schedule.base:multiplier"),
    "loss": Group("dlreg.loss.base:Loss", verbs=("each", "__call__"), common="dlreg.loss.base:class_weights"),
    "attack": Group("dlreg.attack.ladder:Attack"),
    "pretrain": Group("dlreg.pretrain.base:Pretraining", verbs=("stages",)),
    "aug": Group("dlreg.reg.base:Regularizer", stack=True, verbs=_MOMENTS),
    "reg": Group("dlreg.reg.base:Regularizer", stack=True, verbs=_MOMENTS),
    "log": Group("dlreg.log.base:Tracker", stack=True, verbs=("begin", "epoch", "layers", "end")),
}

# Groups and keys that came after the first runs, and what every run before did. Such a choice is no part of a run's identity.
LATER: dict[str, Any] = {
    "loss": {
        "name": "cross_entropy",
        "class_weight": "none",
        "class_beta": 0.9999,
        "_target_": "dlreg.loss.softmax.CrossEntropy",
    },
    "attack": {"name": "none", "_target_": "dlreg.attack.ladder.Nothing"},
    "pretrain": {"name": "none", "_target_": "dlreg.pretrain.base.Pretraining"},
    "log": {},
    "start": None,
    "fresh": [],
    "freeze": [],
}

# Likewise, of the keys that all data sets share.
LATER_DATA: dict[str, Any] = {"labelled": None, "imbalance": 1.0, "folds": None, "fold": 0}


class Settings(BaseModel):
    """One experiment, checked: the tree of `conf/config.yaml` after composition, each single option with its `name`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    data: dict[str, Any]
    model: dict[str, Any]
    init: dict[str, Any]
    norm: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    loss: dict[str, Any]
    attack: dict[str, Any]
    pretrain: dict[str, Any]
    aug: dict[str, dict[str, Any]]
    reg: dict[str, dict[str, Any]]
    log: dict[str, dict[str, Any]]
    start: str | None
    fresh: list[str]
    freeze: list[str]
    seed: Natural
    epochs: Count
    batch_size: Count | Literal["full"]
    sampler: Literal["shuffle", "random", "cyclic", "balanced"]
    precision: Literal["fp32", "bf16", "fp64", "auto"]
    device: typing.Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    threads: typing.Annotated[int, Field(ge=1, le=1024)] | Literal["auto"]  # a system refuses a process too many
    outputs: typing.Annotated[str, Field(min_length=1)]
    save_weights: bool
    progress: bool
    rerun: bool


def walk(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`(dotted key, leaf)` for every leaf of a tree of dicts; an empty dict is a leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from walk(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
