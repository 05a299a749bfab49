"""Hydra at arm's length: composing overrides into `Settings`. Everything that is composed passes `config.guard`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from dlreg.config import guard
from dlreg.config.check import settings
from dlreg.config.explain import explain
from dlreg.config.options import conf_dir
from dlreg.config.schema import GROUPS, Settings
from dlreg.errors import UserError, shown


def compose(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Settings:
    """The settings that `dlreg train OVERRIDES` runs with.

    Raises:
        UserError: the overrides do not compose, or a value is refused.
    """
    with hydra() as loader:
        cfg = load(loader, overrides, config_dirs)
        return checked(cfg, cfg.hydra.runtime.choices)


@contextmanager
def hydra() -> Iterator[ConfigLoader]:
    """Hydra with dlreg's options; while it composes, `oc.env` reads nothing but DLREG_DATA."""
    GlobalHydra.instance().clear()
    OmegaConf.register_new_resolver("oc.env", _env, replace=True)
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def load(
    loader: ConfigLoader, overrides: Sequence[str], config_dirs: Sequence[str] = (), mode: RunMode = RunMode.RUN
) -> DictConfig:
    """The composed config, Hydra's own part included.

    Raises:
        UserError: the overrides do not compose, or they reach for what is not theirs.
    """
    guard.words(overrides)
    search = [f"hydra.searchpath=[{','.join(map(_quoted, config_dirs))}]"] if config_dirs else []
    try:
        cfg = loader.load_configuration("config", [*overrides, *search], run_mode=mode)
    except (UnicodeDecodeError, RecursionError) as error:  # which do not say what was read
        why = "brackets too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{_culprit(config_dirs)} cannot be read: {why}") from None
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # of the system; Hydra's own are such errors as well
            raise UserError(f"{shown(error.filename)} cannot be read: {error.strerror}") from None
        raise UserError(explain(error)) from error
    guard.composed(cfg)
    return cfg


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
            guard.option_name(group, choice)
            tree[group] = {"name": choice, **tree[group]}
    return settings({str(key): value for key, value in tree.items()})


def with_values(cfg: DictConfig, values: Sequence[Override]) -> DictConfig:
    """A composed config, without Hydra's part, with other values of some of its keys: nothing is composed again."""
    changed = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
    OmegaConf.set_struct(changed, False)
    for override in values:
        OmegaConf.update(changed, override.key_or_group, override.value(), merge=True)
    return changed


def _env(key: str, default: str | None = None) -> str:
    if key != "DLREG_DATA":
        raise UserError(f"${{oc.env:{shown(key)}}}: an option cannot read the environment")
    return str(oc.env(key, default))


def _quoted(folder: str) -> str:
    path = str(Path(folder).resolve()).replace("\\", "\\\\").replace("'", "\\'")
    return f"'file://{path}'"


def _culprit(config_dirs: Sequence[str]) -> str:
    """The file of a user's whose bytes or brackets no reader can take."""
    for path in (path for folder in config_dirs for path in sorted(Path(folder).rglob("*.yaml"))):
        try:
            OmegaConf.load(path)
        except (UnicodeDecodeError, RecursionError):
            return str(path)
        except Exception:  # another fault, of another file
            continue
    return "an option's file"
