"""Hydra at arm's length: composing overrides into `Settings`, and wording Hydra's refusals as one line each."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlreg.config.build import GROUPS, Settings, conf_dir, settings
from dlreg.errors import UserError, did_you_mean


def compose(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Settings:
    """The settings that `dlreg train OVERRIDES` would run with.

    Raises:
        UserError: the overrides do not compose, or a value is refused.
    """
    search = [f"hydra.searchpath=[{','.join('file://' + str(Path(d).resolve()) for d in config_dirs)}]"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            cfg = hydra_compose("config", [*overrides, *(search if config_dirs else [])], return_hydra_config=True)
        except Exception as error:
            raise UserError(explain(error)) from error
    return checked(cfg, cfg.hydra.runtime.choices)


def checked(cfg: DictConfig, choices: Mapping[str, Any]) -> Settings:
    """The checked settings of a composed config; `choices` says which option each group got."""
    if "hydra" in cfg:
        cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    try:
        tree = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None
    assert isinstance(tree, dict)
    for group, entry in GROUPS.items():
        if not entry.stack and isinstance(tree.get(group), dict):
            choice = choices.get(group)
            if not isinstance(choice, str):
                raise UserError(f"{group} takes one option, not a list (-m {group}=a,b runs both)")
            tree[group] = {"name": choice, **tree[group]}
    return settings({str(key): value for key, value in tree.items()})


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


def options(group: str, config_dirs: Sequence[str] = ()) -> dict[str, Path]:
    """Every option of a group and its YAML file; packaged options come before a user's of the same name."""
    found: dict[str, Path] = {}
    for folder in [conf_dir(), *map(Path, config_dirs)]:
        for path in sorted((folder / group).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def conditional(override: Override) -> bool:
    """Whether an override sets a key inside an option, so that in a sweep it may not apply to every cell."""
    return in_option(override.key_or_group) and not override.is_add() and not override.is_delete()


def in_option(key: str) -> bool:
    """Whether a key is one of an option's own, `reg.dropout.p`."""
    return "." in key and key.split(".")[0] in GROUPS


def user_config_dirs(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `-cd DIR` / `--config-dir DIR` / `--config-dir=DIR` out of the arguments: (folders, the rest)."""
    folders, rest, it = [], [], iter(argv)
    for word in it:
        if word in ("-cd", "--config-dir"):
            folders.append(next(it, ""))
        elif word.startswith("--config-dir="):
            folders.append(word.split("=", 1)[1])
        else:
            rest.append(word)
    return folders or list(filter(None, [os.environ.get("DLREG_CONF_DIR")])), rest


def _no_option(path: str, listed: Sequence[str] | None) -> str:
    group, _, name = path.partition("/")
    if path.startswith("hydra/launcher/"):
        return f"{path}: not installed; pip install 'dlreg[parallel]' brings joblib, 'dlreg[slurm]' submitit"
    if group not in GROUPS:
        return f"{path}: there is no such option"
    allowed = sorted(listed or options(group))
    return f"{group}={name}: there is no such option.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}."


def _no_key(key: str, cause: OmegaConfBaseException) -> str:
    """A key that is not there: perhaps its option was not chosen, else the nearest among its neighbours."""
    parent, _, word = key.rpartition(".")
    if parent in GROUPS and GROUPS[parent].stack:
        if word in options(parent):
            return f"{key}: this run has no {word}; add {parent}={word}"
        return f"{key}: there is no such option.{did_you_mean(word, options(parent))}"
    neighbours = [str(k) for k in getattr(cause, "parent_node", None) or {} if k not in ("hydra", "_target_")]
    hint = did_you_mean(word, neighbours) or f" Allowed: {', '.join(neighbours) or 'no keys'}."
    return f"{key}: there is no such key.{hint}"
