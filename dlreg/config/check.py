"""A composed tree -> checked settings: types, ranges, which keys exist; every problem as one line."""

from __future__ import annotations

import functools
import math
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails

from dlreg.config.allowed import allowed
from dlreg.config.build import fields_of, hyperparameters, is_option, locate
from dlreg.config.schema import GROUPS, Settings, walk
from dlreg.errors import UserError, did_you_mean, shown


def settings(tree: Mapping[str, Any]) -> Settings:
    """Check a composed tree (plain containers, `name` in every single option) and return it with coerced values.

    Raises:
        UserError: every problem found, one line each.
    """
    problems: list[str] = []
    try:
        root = Settings.model_validate(dict(tree))
    except ValidationError as error:
        raise UserError("\n".join(_explain(error, "", _SETTINGS))) from None
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


def _check_option(group: str, node: Mapping[str, Any], where: str) -> dict[str, Any]:
    fields = hyperparameters(group, node)
    given = {k: v for k, v in node.items() if k not in ("_target_", "name")}
    nested = {k: _check_option(group, v, f"{where}.{k}") for k, v in given.items() if k in fields and is_option(v)}
    given = {k: v for k, v in given.items() if k not in nested}
    fields = {k: v for k, v in fields.items() if k not in nested}
    for key, value in walk(given):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}.{key}={value} must be a finite number")
    try:
        values = _schema(locate(group, node), group, frozenset(fields)).model_validate(given)
    except ValidationError as error:
        raise UserError("\n".join(_explain(error, where + ".", {k: v for k, (v, _) in fields.items()}))) from None
    return {**node, **nested, **{name: getattr(values, name) for name in given}}


@functools.cache
def _schema(target: Callable[..., Any], group: str, keys: frozenset[str]) -> type[BaseModel]:
    """A model of an option's keys; making one takes longer than all its uses in a sweep."""
    fields = {k: v for k, v in fields_of(target, group).items() if k in keys}
    return create_model(target.__name__, __config__=_STRICT, **typing.cast(Any, fields))


_STRICT = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
)
_SETTINGS = {name: field.rebuild_annotation() for name, field in Settings.model_fields.items()}


def _explain(error: ValidationError, prefix: str, known: Mapping[str, Any]) -> list[str]:
    """One line per key of those `known` with their types: what was given, what is allowed, the nearest match."""
    lines: dict[str, list[str]] = {}
    hints: dict[str, str] = {}
    for item in error.errors():
        key = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            hint = f"{did_you_mean(key, known)} Allowed: {', '.join(known) or 'no keys'}."
            lines[f"{prefix}{key}: there is no such key."] = [hint.strip()]
        elif item["type"] == "missing":
            lines[f"{prefix}{key}"] = ["must be given"]
        else:
            place = "".join(f"[{part}]" for part in item["loc"][1:] if isinstance(part, int))
            place += f".{item['loc'][1]}" if key in GROUPS and GROUPS[key].stack and len(item["loc"]) > 1 else ""
            text = re.sub(r"^\w+ should", "must", item["msg"]).replace(" after validation", "")
            if place == "._target_":
                text = "must stand under the option's name, NAME: {_target_: ...}"
            head = f"{prefix}{key}{place}={shown(item['input'])}"
            lines.setdefault(head, []).append(text[:1].lower() + text[1:])
            hints[head] = _near_word(item) or hints.get(head) or _whole_range(known[key])
    return [f"{head} {' or '.join(dict.fromkeys(parts))}{hints.get(head, '')}" for head, parts in lines.items()]


def _whole_range(annotation: Any) -> str:
    """A range with two ends, of which the message names the one that was passed."""
    words = allowed(annotation)
    return f" ({words})" if re.search(r">=? [^,]+, <", words) else ""


def _near_word(item: ErrorDetails) -> str:
    words = re.findall(r"'([^']*)'", item["ctx"]["expected"]) if item["type"] == "literal_error" else ()
    near = did_you_mean(item["input"], words)
    return near and f".{near}"
