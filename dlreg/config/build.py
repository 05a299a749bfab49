"""From a dotted path to an object: `build`, the only place that does it, and what a `_target_` may name.

Every option is a YAML file with a `_target_`: a class or function whose *positional* parameters dlreg supplies at run
time and whose *keyword-only* parameters are its hyperparameters. The annotations of the latter are the schema: types,
ranges, and which keys exist.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

from dlreg.config.contract import keeps, reason
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError, did_you_mean, shown
from dlreg.hyper import Positive


def build(group: str, node: Mapping[str, Any]) -> Any:
    """The option that `node` describes: an instance, or a callable that waits for the group's run-time arguments.

    An option inside the option (the base optimizer of SAM) is built likewise, first.

    Raises:
        UserError: the `_target_` is not allowed, is not what the group holds, or a hyperparameter is refused.
    """
    target = locate(group, node)
    common = _hyperparameters(_load(GROUPS[group].common), ()) if GROUPS[group].common else {}
    kwargs = {
        k: build(group, v) if is_option(v) else v
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
    where = f"{group}: _target_={shown(repr(path))}"
    if not isinstance(path, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", path):
        raise UserError(f"{where} must be a dotted path such as dlreg.reg.dropout.Dropout")
    if not _under_root(path):
        raise UserError(f"{where} is not allowed: it must lie under {', '.join(allowed_roots())} (DLREG_PLUGINS adds)")
    target = _load(path, where)
    kind = _load(GROUPS[group].kind)
    defined = _under_root(f"{getattr(target, '__module__', '')}.")
    held = target if inspect.isclass(target) else _returns(target)
    if not defined or not inspect.isclass(held) or not issubclass(held, kind):
        how = (
            f"derives from {GROUPS[group].kind.replace(':', '.')}"
            if inspect.isclass(target)
            else f"says -> {kind.__name__}"
        )
        raise UserError(f"{where} is not an option of {group}, which holds {kind.__name__}s: one {how}")
    if not _torchs(target):
        keeps(group, target, kind)
    return target


def hyperparameters(group: str, node: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """`name -> (annotation, default)` of every key the option may have, the group's common ones included."""
    return fields_of(locate(group, node), group)


def fields_of(target: Callable[..., Any], group: str) -> dict[str, tuple[Any, Any]]:
    """`name -> (annotation, default)` of every key that an option made by `target` may have."""
    entry = GROUPS[group]
    own = _hyperparameters(target, entry.runtime)
    own |= {name: (Positive, own[name][1]) for name in entry.positive if name in own}
    return {**own, **(_hyperparameters(_load(entry.common), ()) if entry.common else {})}


def is_option(value: Any) -> bool:
    """Whether the value of a hyperparameter is itself an option of the group."""
    return isinstance(value, Mapping) and "_target_" in value


OWN_ROOTS = ("dlreg", "torch.optim", "torch.nn")


def allowed_roots() -> list[str]:
    """Packages whose classes and functions a `_target_` may name; `DLREG_PLUGINS=a,b` adds to them."""
    return list(_roots(os.environ.get("DLREG_PLUGINS", "")))


def plugins() -> list[str]:
    """The packages and modules of somebody's own that DLREG_PLUGINS names."""
    return allowed_roots()[len(OWN_ROOTS) :]


@functools.cache
def _roots(named: str) -> tuple[str, ...]:
    return (*OWN_ROOTS, *filter(None, re.split(r"[,\s]+", named)))


def _under_root(path: str) -> bool:
    return path.startswith(tuple(f"{root}." for root in allowed_roots()))


def _load(path: str, where: str = "") -> Any:
    if ":" not in path:
        path = ":".join(path.rsplit(".", 1))
    module, name = path.split(":")
    if module == "builtins" and name == "NoneType":
        return type(None)
    if os.environ.get("DLREG_PLUGINS") and "" not in sys.path:
        sys.path.append("")  # a plugin may be a file in the current folder
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (root := module.split(".")[0]) != error.name:
            raise UserError(f"{where} cannot be imported: {reason(error, plugins())}") from error
        raise UserError(
            f"{where} cannot be imported: there is no {root}.py in this folder and no package {root}"
        ) from None
    except Exception as error:  # whatever is wrong with a module of somebody's own
        raise UserError(f"{where} cannot be imported: {reason(error, plugins())}") from error
    if not hasattr(found, name):
        hint = did_you_mean(name, vars(found))
        raise UserError(f"{where} cannot be imported: module {module} has no {name}.{hint}")
    return getattr(found, name)


def _returns(function: Any) -> Any:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):  # not a function, or annotations that do not resolve: of no kind
        return None


def _torchs(target: Callable[..., Any]) -> bool:
    """Whether it is a class of torch's own, which takes options by place as well."""
    return target.__module__.split(".")[0] == "torch"


@functools.cache
def _hyperparameters(target: Callable[..., Any], runtime: tuple[str, ...]) -> dict[str, tuple[Any, Any]]:
    """`name -> (annotation, default)` of the keys an option takes. Foreign classes are typed loosely: they check."""
    ours = not _torchs(target)
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function, include_extras=True) if ours else {}
    except Exception as error:  # an annotation may be any expression
        raise UserError(f"{target.__module__}.{target.__qualname__}: an annotation cannot be read: {error}") from None
    found = {}
    for name, parameter in inspect.signature(target).parameters.items():
        wanted = parameter.kind is parameter.KEYWORD_ONLY if ours else name not in runtime
        if wanted and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            default = ... if parameter.default is parameter.empty else parameter.default
            found[name] = (hints.get(name, Any), default)
    return found
