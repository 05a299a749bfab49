"""What a key may be, in words: its type and its range."""

from __future__ import annotations

import typing
from typing import Annotated, Any

from dlreg.hyper import MOST


def allowed(annotation: Any) -> str:
    """A type and its range in words: `Annotated[float, Ge(0), Lt(1)]` is "number, >= 0, < 1"."""
    if typing.get_origin(annotation) is Annotated:
        base, *marks = typing.get_args(annotation)
        limits = [_limit(m) for mark in marks for m in (getattr(mark, "metadata", None) or [mark])]
        return ", ".join([allowed(base), *filter(None, limits)])
    if typing.get_origin(annotation) is typing.Literal:
        return " | ".join(map(str, typing.get_args(annotation)))
    if typing.get_origin(annotation) is list:
        return f"list of ({allowed(typing.get_args(annotation)[0])})"
    if arguments := typing.get_args(annotation):
        return " or ".join(allowed(a) for a in arguments)
    words = {float: "number", int: "whole number", bool: "true | false", str: "text", type(None): "null", Any: ""}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _limit(mark: Any) -> str:
    """A limit in words; that of slips of the pen is left to the error about one."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "at least", "max_length": "at most"}
    limits = [(sign, getattr(mark, name)) for name, sign in signs.items() if hasattr(mark, name)]
    return ", ".join(f"{sign} {limit}" for sign, limit in limits if limit != MOST)
