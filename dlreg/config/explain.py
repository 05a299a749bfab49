"""Hydra's and OmegaConf's refusals as one line each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlreg.config.hints import instead_of_key, instead_of_option, surely
from dlreg.config.options import options
from dlreg.config.schema import GROUPS, walk
from dlreg.errors import did_you_mean


def explain(error: BaseException) -> str:
    """One line for what Hydra or OmegaConf refused: the option, what was given, what is allowed, the nearest match."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(str(error.missing_cfg_file), error.options)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    key = getattr(cause, "full_key", None)
    if isinstance(cause, OmegaConfBaseException) and key and "not in" in str(cause):
        return _no_key(key, cause)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: this override cannot be read (KEY=VALUE; quote what the shell would take apart)"
    missing = re.match(r"(?:In '[^']+': )?Could not (?:find|load) '([^']+)'", str(error))
    if missing:
        return _no_option(missing[1], None)
    if "Ambiguous value" in str(error):
        key = re.search(r"for argument '([^']+)'", str(error))
        return f"{key[1] if key else 'a value'} has several values: add -m to run each, or write a list as [a,b]"
    if isinstance(error, OSError):
        return f"{error.filename or 'outputs'} cannot be written: {error.strerror or error}"
    lines = [line.strip() for line in f"{error}\n{error.__cause__ or ''}".splitlines() if line.strip()]
    return " · ".join(dict.fromkeys(lines[:3])) or type(error).__name__


def _no_option(path: str, listed: Sequence[str] | None) -> str:
    group, _, name = path.partition("/")
    if path.startswith("hydra/launcher/"):
        return f"{path}: not installed; pip install 'dlreg[parallel]' brings joblib, 'dlreg[slurm]' submitit"
    if group not in GROUPS:
        return f"{path}: there is no such option"
    allowed = sorted(listed or options(group))
    return f"{group}={name}: there is no such option.{instead_of_option(name, allowed)} Allowed: {', '.join(allowed)}."


def _no_key(key: str, cause: OmegaConfBaseException) -> str:
    """A key that is not there: perhaps its option was not chosen, else the nearest among its neighbours."""
    parent, _, word = key.rpartition(".")
    if parent in GROUPS and GROUPS[parent].stack:
        if word in options(parent):
            return f"{key}: this run has no {word}; add {parent}={word}"
        return f"{key}: there is no such option.{did_you_mean(word, options(parent))}"
    neighbours = [str(k) for k in getattr(cause, "parent_node", None) or {} if k not in ("hydra", "_target_")]
    known = neighbours if parent else [k for k, _ in walk(_tree(cause)) if not k.startswith("hydra.")]
    allowed = "" if surely(word, known) else f" Allowed: {', '.join(neighbours) or 'no keys'}."
    return f"{key}: there is no such key.{instead_of_key(word, known)}{allowed}"


def _tree(cause: OmegaConfBaseException) -> dict[str, Any]:
    """The config in which a key was not found."""
    tree = OmegaConf.to_container(getattr(cause, "parent_node", None) or OmegaConf.create(), resolve=False)
    return {str(key): value for key, value in tree.items()} if isinstance(tree, dict) else {}
