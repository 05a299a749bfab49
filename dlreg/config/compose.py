"""Hydra at arm's length: composing overrides into `Settings`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlreg.config.check import settings
from dlreg.config.explain import explain
from dlreg.config.options import conf_dir
from dlreg.config.schema import GROUPS, Settings
from dlreg.errors import UserError


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
