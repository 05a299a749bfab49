"""Options whose file says what stands in their own group and nothing else: chosen without composing the whole again.

Hydra takes some 120 ms to compose a config, most of it for its own settings and for lists of defaults. An option that has no
such list it merges onto what config.yaml says of the group; so does `put`, in a config that Hydra composed before.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlreg.config.options import conf_dir, options, text_of
from dlreg.config.schema import GROUPS

Picks = Mapping[str, Sequence[str]]  # group -> the options that are chosen of it


def picks(override: Override) -> Picks:
    """The plain options of dlreg's own that the override chooses; empty if it is for Hydra."""
    group, value = override.key_or_group, override.value()
    if not chooses(override) or override.package:
        return {}
    names: list[Any] = value if isinstance(value, list) and GROUPS[group].stack else [value]
    return {group: names} if all(isinstance(name, str) and _alone(group, name) is not None for name in names) else {}


def chooses(override: Override) -> bool:
    """Whether it is `GROUP=OPTION`."""
    adds = override.is_add() or override.is_force_add() or override.is_delete()
    return override.key_or_group in GROUPS and not adds


def put(config: DictConfig, chosen: Picks) -> DictConfig:
    """A copy of the config with other options in these groups."""
    changed = copy.deepcopy(config)
    for group, names in chosen.items():
        changed[group] = _merged(group, names)
    return changed


def fits(config: DictConfig, group: str, name: Any) -> bool:
    """Whether there stands in the group what its option `name` puts there (of a stack: nothing), by nobody else's hand."""
    names = () if GROUPS[group].stack else (name,)
    return all(_alone(group, name) is not None for name in names) and _same(config[group], _merged(group, names))


def _merged(group: str, names: Sequence[str]) -> Any:
    return OmegaConf.merge(_primary().get(group, {}), *(_alone(group, name) for name in names))


def _same(one: DictConfig, other: DictConfig) -> bool:
    return OmegaConf.to_container(one) == OmegaConf.to_container(other)  # as they are written, nothing resolved


@functools.cache
def _alone(group: str, name: str) -> DictConfig | None:
    """What the option's file says; None if there is no such option, or it says more than what stands in its group."""
    path = options(group).get(name) if group in GROUPS else None
    if path is None or "@package" in text_of(path):
        return None
    said = OmegaConf.load(path)
    return said if isinstance(said, DictConfig) and "defaults" not in said else None


@functools.cache
def _primary() -> DictConfig:
    said = OmegaConf.load(conf_dir() / "config.yaml")
    assert isinstance(said, DictConfig)
    return said
