"""The grid that the overrides of `-m` describe: every different experiment, checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlreg.config import guard
from dlreg.config.applying import Applying
from dlreg.config.compose import checked, with_values
from dlreg.config.explain import explain
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError
from dlreg.run.experiment import Experiment
from dlreg.study.cells import Cell


def grid(arguments: Sequence[str], loader: ConfigLoader, config: DictConfig) -> list[Cell]:
    """Every different experiment that the overrides describe, checked.

    A value for a key of one option (`reg.dropout.p=0.1,0.5`) applies to the cells that chose the option; cells it does
    not apply to come out equal and count once. A key that applies to no cell is an error.
    """
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides(list(arguments))
    for override in overrides:
        guard.no_interval(override)
    chosen = [o for o in overrides if not _plain_value(o)]  # groups and Hydra's own keys: these need a composition
    values = [o for o in overrides if _plain_value(o)]
    applying = Applying(o.key_or_group for o in values)
    cells: dict[str, Cell] = {}
    for choice in itertools.product(*map(_texts, chosen)):
        cfg = _compose(loader, config, choice)
        there = applying.to(_tree(cfg))
        for point in itertools.product(*(_texts(o) for o in values if o.key_or_group in there)):
            changed = with_values(cfg, [parser.parse_override(text) for text in point])
            cell = Cell((*choice, *point), Experiment.of(checked(changed, cfg.hydra.runtime.choices)))
            cells.setdefault(str(cell.experiment.folder), cell)
    applying.refuse_unused("no run of this sweep")
    return list(cells.values())


def _plain_value(override: Override) -> bool:
    """Whether it is `KEY=VALUE` for a key of the experiment: such a value can be set without composing again."""
    key = override.key_or_group
    return not (
        key in GROUPS or key.split(".")[0].split("/")[0] == "hydra" or override.is_add() or override.is_delete()
    )


def _texts(override: Override) -> Iterator[str]:
    key = override.get_key_element()
    if override.is_sweep_override():
        yield from (f"{key}={value}" for value in override.sweep_string_iterator())
    else:
        yield key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"


def _compose(loader: ConfigLoader, config: DictConfig, overrides: tuple[str, ...]) -> DictConfig:
    guard.words(overrides)
    try:
        cfg = loader.load_sweep_config(config, list(overrides))
    except Exception as error:
        raise UserError(explain(error)) from error
    guard.composed(cfg)
    return cfg


def _tree(cfg: DictConfig) -> dict[str, Any]:
    tree = OmegaConf.to_container(OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"]))
    assert isinstance(tree, dict)
    return {str(k): v for k, v in tree.items()}
