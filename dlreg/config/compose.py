"""Hydra at arm's length: composing overrides into `Settings`. Everything that is composed passes `config.guard`."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from dlreg.config import guard, plain
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
    values = [o for o in guard.words(overrides) if sets_value(o) and not o.is_sweep_override()]
    set_later = {override.input_line for override in values}
    return composed([word for word in overrides if word not in set_later], config_dirs).settings(values)


@dataclass(frozen=True)
class Composed:
    """A config in which the options are chosen, without Hydra's own part."""

    config: DictConfig
    choices: Mapping[str, Any]  # which option each group of one option got

    def tree(self) -> dict[str, Any]:
        """As plain containers, nothing resolved."""
        tree = OmegaConf.to_container(self.config)
        assert isinstance(tree, dict)
        return {str(key): value for key, value in tree.items()}

    def settings(self, values: Sequence[Override] = ()) -> Settings:
        """The checked settings, with other values of some keys: nothing is composed again.

        Raises:
            UserError: there is no such key, or a value is refused.
        """
        tree = _resolved(_changed(self.config, values) if values else self.config)
        for group, entry in GROUPS.items():
            if not entry.stack and isinstance(tree.get(group), dict):
                choice = self.choices.get(group)
                if not isinstance(choice, str):
                    raise UserError(f"{group} takes one option, not a list (-m {group}=a,b runs both)")
                guard.option_name(group, choice)
                tree[group] = {"name": choice, **tree[group]}
        return settings(tree)


def composed(words: Sequence[str], config_dirs: Sequence[str] = ()) -> Composed:
    """The config that these overrides choose. A process reads dlreg's own options once, a user's each time.

    Raises:
        UserError: the overrides do not compose, or they reach for what is not theirs.
    """
    overrides = guard.words(words)
    if config_dirs:
        return _composed_by_hydra(words, config_dirs)
    chosen = {group: names for override in overrides for group, names in plain.picks(override).items()}
    others = [override for override in overrides if not plain.picks(override)]
    if not all(map(plain.chooses, others)):
        return _kept(tuple(words))
    head = _kept(tuple(str(override.input_line) for override in others))
    if not all(plain.fits(head.config, group, head.choices.get(group)) for group in chosen):
        return _kept(tuple(words))
    single = {group: names[0] for group, names in chosen.items() if not GROUPS[group].stack}
    return Composed(plain.put(head.config, chosen), {**head.choices, **single})


def sets_value(override: Override) -> bool:
    """Whether it is `KEY=VALUE` for a key of the experiment: such a value can be set in a config that is composed."""
    key = override.key_or_group
    other = not key or key in GROUPS or "/" in key or key.split(".")[0] == "hydra" or override.package
    return not (other or override.is_add() or override.is_delete())


@functools.lru_cache(maxsize=64)
def _kept(words: tuple[str, ...]) -> Composed:
    return _composed_by_hydra(words, ())


def _composed_by_hydra(words: Sequence[str], config_dirs: Sequence[str]) -> Composed:
    with hydra() as loader:
        cfg = load(loader, words, config_dirs)
    config = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    OmegaConf.set_struct(config, True)  # a value is for a key that is there
    return Composed(config, cfg.hydra.runtime.choices)


def _changed(config: DictConfig, values: Sequence[Override]) -> DictConfig:
    """A copy with these values in it, as Hydra sets them."""
    changed = copy.deepcopy(config)
    for override in values:
        key, value = override.key_or_group, override.value()
        guard.value(key, value)
        try:
            OmegaConf.update(changed, key, value, merge=True, force_add=override.is_force_add())
        except Exception as error:
            raise UserError(explain(error)) from error
    return changed


def _resolved(config: DictConfig) -> dict[str, Any]:
    try:
        with _sealed():
            tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from None
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


@contextmanager
def hydra() -> Iterator[ConfigLoader]:
    """Hydra with dlreg's options; while it composes, `oc.env` reads nothing but DLREG_DATA."""
    GlobalHydra.instance().clear()
    with _sealed(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@contextmanager
def _sealed() -> Iterator[None]:
    OmegaConf.register_new_resolver("oc.env", _env, replace=True)
    try:
        yield
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
