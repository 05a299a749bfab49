"""From overrides to checked settings to built parts: where conf/ is, what a group may hold, and `build`.

Every option is a YAML file with a `_target_`: a class or function whose *positional* parameters dlreg supplies at run
time and whose *keyword-only* parameters are its hyperparameters. The annotations of the latter are the schema: types,
ranges, and which keys exist. `build` is the only place that turns a dotted path into an object.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from dlreg.errors import UserError, did_you_mean
from dlreg.hyper import Count, Natural


@dataclass(frozen=True)
class Group:
    """What the options of one group are."""

    kind: str  # "module:Class" that an option is, or returns
    runtime: tuple[str, ...] = ()  # what dlreg passes when it calls the option; empty: the option is built at once
    stack: bool = False  # several options at a time, each nested under its own word
    common: str = ""  # "module:function" whose keyword-only parameters every option of the group shares


GROUPS = {
    "data": Group("dlreg.data.base:Dataset", ("root", "download"), common="dlreg.data.base:prepare"),
    "model": Group("torch.nn:Module", ("shape", "classes", "norm")),
    "init": Group("builtins:NoneType", ("layer", "generator")),
    "norm": Group("torch.nn:Module", ("layer",)),
    "optimizer": Group("torch.optim:Optimizer", ("params",)),
    "schedule": Group("builtins:float", ("progress",), common="dlreg.schedule.base:multiplier"),
    "aug": Group("dlreg.reg.base:Regularizer", stack=True),
    "reg": Group("dlreg.reg.base:Regularizer", stack=True),
}


class Settings(BaseModel):
    """One experiment, checked: the tree of `conf/config.yaml` after composition, each single option with its `name`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    data: dict[str, Any]
    model: dict[str, Any]
    init: dict[str, Any]
    norm: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    aug: dict[str, dict[str, Any]]
    reg: dict[str, dict[str, Any]]
    seed: Natural
    epochs: Count
    batch_size: Count | Literal["full"]
    sampler: Literal["shuffle", "random", "cyclic", "balanced"]
    precision: Literal["fp32", "bf16", "auto"]
    device: typing.Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
    threads: Count | Literal["auto"]
    outputs: typing.Annotated[str, Field(min_length=1)]
    save_weights: bool
    progress: bool
    rerun: bool


def conf_dir() -> Path:
    """The folder of YAML options: `dlreg/conf` in a wheel, `conf` beside the package in a checkout."""
    here = Path(__file__).resolve().parents[1]
    for candidate in (here / "conf", here.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise FileNotFoundError("dlreg's conf/ was not found beside the package: reinstall dlreg")


def allowed_roots() -> list[str]:
    """Packages whose classes and functions a `_target_` may name; `DLREG_PLUGINS=a,b` adds to them."""
    plugins = re.split(r"[,\s]+", os.environ.get("DLREG_PLUGINS", ""))
    return ["dlreg", "torch.optim", "torch.nn", *filter(None, plugins)]


def settings(tree: Mapping[str, Any]) -> Settings:
    """Check a composed tree (plain containers, `name` in every single option) and return it with coerced values.

    Raises:
        UserError: every problem found, one line each.
    """
    problems: list[str] = []
    try:
        root = Settings.model_validate(dict(tree))
    except ValidationError as error:
        raise UserError("\n".join(_explain(error, "", list(Settings.model_fields)))) from None
    checked: dict[str, Any] = {}
    for group, entry in GROUPS.items():
        node = getattr(root, group)
        nodes = node if entry.stack else {"": node}
        done = {}
        for word, option in nodes.items():
            try:
                done[word] = _check_option(group, option, f"{group}.{word}" if word else group)
            except UserError as error:
                problems.append(str(error))
        checked[group] = done if entry.stack else done.get("")
    if problems:
        raise UserError("\n".join(problems))
    return root.model_copy(update=checked)


def build(group: str, node: Mapping[str, Any]) -> Any:
    """The option that `node` describes: an instance, or a callable that waits for the group's run-time arguments.

    An option inside the option (the base optimizer of SAM) is built likewise, first.

    Raises:
        UserError: the `_target_` is not allowed, is not what the group holds, or a hyperparameter is refused.
    """
    target = locate(group, node)
    common = _hyperparameters(_load(GROUPS[group].common), ()) if GROUPS[group].common else {}
    kwargs = {
        k: build(group, v) if _nested(v) else v
        for k, v in node.items()
        if k not in ("_target_", "name") and k not in common
    }
    bound = functools.partial(target, **kwargs)
    return bound if GROUPS[group].runtime else bound()


def locate(group: str, node: Mapping[str, Any]) -> Callable[..., Any]:
    """The class or function behind `_target_`.

    Before anything is imported: it is a plain dotted path under an allowed root. After: it is *defined* under such a
    root (not merely imported there), and is, or is annotated to return, what the group holds.
    """
    path = node.get("_target_")
    where = f"{group}: _target_={path!r}"
    if not isinstance(path, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
        raise UserError(f"{where} must be a dotted path such as dlreg.reg.dropout.Dropout")
    if not _under_root(path):
        raise UserError(f"{where} is not allowed: it must lie under {', '.join(allowed_roots())} (DLREG_PLUGINS adds)")
    target = _load(path, where)
    kind = _load(GROUPS[group].kind)
    defined = _under_root(f"{getattr(target, '__module__', '')}.")
    held = target if inspect.isclass(target) else _returns(target)
    if not defined or not inspect.isclass(held) or not issubclass(held, kind):
        raise UserError(f"{where} is not an option of {group}, which holds {kind.__name__}s")
    return target


def walk(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`(dotted key, leaf)` for every leaf of a tree of dicts; an empty dict is a leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from walk(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _under_root(path: str) -> bool:
    return any(path.startswith(root + ".") for root in allowed_roots())


def _load(path: str, where: str = "") -> Any:
    if ":" not in path:
        path = ":".join(path.rsplit(".", 1))
    module, name = path.split(":")
    if module == "builtins" and name == "NoneType":
        return type(None)
    if os.environ.get("DLREG_PLUGINS") and "" not in sys.path:
        sys.path.append("")  # a plugin may be a file in the current folder
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{where} cannot be imported: {error}") from error


def _returns(function: Any) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):  # not a function, or annotations that do not resolve: of no kind
        return None


@functools.cache
def _hyperparameters(target: Callable[..., Any], runtime: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
    """`name -> (annotation, default)` of the keys an option takes. Foreign classes are typed loosely: they check."""
    ours = target.__module__.split(".")[0] != "torch"
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True) if ours else {}
    found = {}
    for name, parameter in inspect.signature(target).parameters.items():
        wanted = parameter.kind is parameter.KEYWORD_ONLY if ours else name not in runtime
        if wanted and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            default = ... if parameter.default is parameter.empty else parameter.default
            found[name] = (hints.get(name, Any), default)
    return found


def hyperparameters(group: str, node: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`name -> (annotation, default)` of every key the option may have, the group's common ones included."""
    return _fields(locate(group, node), group)


def _fields(target: Callable[..., Any], group: str) -> dict[str, tuple[Any, Any]]:
    entry = GROUPS[group]
    own = _hyperparameters(target, entry.runtime)
    return {**own, **(_hyperparameters(_load(entry.common), ()) if entry.common else {})}


def _check_option(group: str, node: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields = hyperparameters(group, node)
    given = {k: v for k, v in node.items() if k not in ("_target_", "name")}
    nested = {k: _check_option(group, v, f"{where}.{k}") for k, v in given.items() if k in fields and _nested(v)}
    given = {k: v for k, v in given.items() if k not in nested}
    fields = {k: v for k, v in fields.items() if k not in nested}
    for key, value in walk(given):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}.{key}={value} must be a finite number")
    try:
        values = _schema(locate(group, node), group, frozenset(fields)).model_validate(given)
    except ValidationError as error:
        raise UserError("\n".join(_explain(error, where + ".", list(fields)))) from None
    return {**node, **nested, **{name: getattr(values, name) for name in given}}


@functools.cache
def _schema(target: Callable[..., Any], group: str, keys: frozenset[str]) -> type[BaseModel]:
    """A model of an option's keys; making one takes longer than all its uses in a sweep."""
    fields = {k: v for k, v in _fields(target, group).items() if k in keys}
    return create_model(target.__name__, __config__=_STRICT, **typing.cast(Any, fields))


def _nested(value: Any) -> bool:
    """Whether the value of a hyperparameter is itself an option of the group."""
    return isinstance(value, Mapping) and "_target_" in value


_STRICT = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
)


def _explain(error: ValidationError, prefix: str, known: list[str]) -> list[str]:
    """One line per key: what was given, what is allowed, the nearest match."""
    lines: dict[str, list[str]] = {}
    for item in error.errors():
        key = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            hint = did_you_mean(key, known) or f" Allowed: {', '.join(known) or 'no keys'}."
            lines[f"{prefix}{key}: there is no such key."] = [hint.strip()]
        elif item["type"] == "missing":
            lines[f"{prefix}{key}"] = ["must be given"]
        else:
            place = "".join(f"[{part}]" for part in item["loc"][1:] if isinstance(part, int))
            place += f".{item['loc'][1]}" if key in ("aug", "reg") and len(item["loc"]) > 1 else ""
            text = item["msg"].replace("Input should be", "must be").replace("String should", "must")
            lines.setdefault(f"{prefix}{key}{place}={item['input']}", []).append(text[:1].lower() + text[1:])
    return [f"{head} {' or '.join(dict.fromkeys(parts))}" for head, parts in lines.items()]
