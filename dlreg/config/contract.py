"""What dlreg asks of the class or function behind an option, and where code that is not dlreg's went wrong."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlreg.config.schema import GROUPS, Group
from dlreg.errors import UserError, did_you_mean

SPEAKING = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
)  # whose text says what is wrong, by itself
BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@functools.cache
def keeps(group: str, target: Callable[..., Any], kind: type) -> None:
    """Refuse what would not be called as it wants to be, or would never be called.

    Raises:
        UserError: naming the class, the method, and what it must take.
    """
    name, entry = f"{target.__module__}.{target.__qualname__}", GROUPS[group]
    _takes(f"{group}: {name}", target, entry)
    if not inspect.isclass(target) or target is kind or not entry.verbs:
        return
    own = [verb for verb in entry.verbs if getattr(target, verb, None) is not getattr(kind, verb, None)]
    if not own:
        written = [key for key, value in vars(target).items() if inspect.isfunction(value)]
        hint = next(filter(None, (did_you_mean(key, entry.verbs) for key in written)), "")
        raise UserError(f"{group}: {name} would do nothing: it has no {', '.join(entry.verbs)}.{hint}")
    for verb in own:
        wanted = _positional(getattr(kind, verb))
        if not _accepts(getattr(target, verb), len(wanted)):
            takes = inspect.signature(getattr(target, verb))
            raise UserError(f"{group}: {name}.{verb} takes {_bare(takes)}; it must take ({', '.join(wanted)})")


def _takes(what: str, target: Callable[..., Any], entry: Group) -> None:
    """dlreg gives what it passes by place, and what a YAML says by keyword alone."""
    signature = inspect.signature(target)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values()):
        return
    if len(_positional(target)) == len(entry.runtime):
        return
    keys = [key for key in signature.parameters if key not in entry.runtime]
    wanted = ", ".join([*entry.runtime, *["*"] * bool(keys), *keys])
    raise UserError(f"{what} takes {_bare(signature)}; it must take ({wanted})")


def _positional(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters that are given by place; `*args` counts as one."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in BY_PLACE or p.kind is inspect.Parameter.VAR_POSITIONAL]


def _accepts(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    return True


def _bare(signature: inspect.Signature) -> str:
    """Without annotations, which are often longer than the names."""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(plain))


def reason(error: BaseException, roots: Sequence[str]) -> str:
    """One line about an error in code of somebody's own, and the line of theirs, in modules under `roots`, that raised it."""
    if isinstance(error, SyntaxError):  # which says where by itself
        return f"SyntaxError: {error.msg} ({Path(error.filename or '').name}, line {error.lineno})"
    first, trace = str(error).strip().split("\n")[0], list(traceback.walk_tb(error.__traceback__))
    if isinstance(error, NotImplementedError) and not first:
        frame = trace[-1][0]
        first = f"{type(frame.f_locals.get('self')).__name__} has no {frame.f_code.co_name}"
    text = first if isinstance(error, SPEAKING) and first else f"{type(error).__name__}: {first}".strip(": ")
    theirs = [(f, line) for f, line in trace if f.f_globals.get("__name__", "").split(".")[0] in roots]
    if not theirs:
        return text
    frame, line = theirs[-1]
    return f"{text} ({Path(frame.f_code.co_filename).name}, line {line})"
