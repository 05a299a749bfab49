"""The grid that the overrides of `-m` describe: every different experiment, checked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from dlreg.config import guard
from dlreg.config.applying import Applying
from dlreg.config.compose import composed, hydra, sets_value
from dlreg.run.experiment import Experiment
from dlreg.study.cells import Cell


def grid(arguments: Sequence[str], config_dirs: Sequence[str] = ()) -> list[Cell]:
    """Every different experiment that the overrides describe, checked.

    A value for a key of one option (`reg.dropout.p=0.1,0.5`) applies to the cells that chose the option; cells it does
    not apply to come out equal and count once. A key that applies to no cell is an error.
    """
    with hydra() as loader:  # which `glob(*)` asks for the names of options
        overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
        for override in overrides:
            guard.no_interval(override)
        chosen = [list(_texts(o)) for o in overrides if not sets_value(o)]
    values = {o.key_or_group: list(_texts(o)) for o in overrides if sets_value(o)}
    applying = Applying(values)
    cells: dict[str, Cell] = {}
    for choice in itertools.product(*chosen):
        config = composed(choice, config_dirs)
        there = applying.to(config.tree())
        for point in itertools.product(*(texts for key, texts in values.items() if key in there)):
            cell = Cell((*choice, *point), Experiment.of(config.settings(guard.words(point))))
            cells.setdefault(str(cell.experiment.folder), cell)
    applying.refuse_unused("no run of this sweep")
    return list(cells.values())


def _texts(override: Override) -> Iterator[str]:
    key = override.get_key_element()
    if override.is_sweep_override():
        yield from (f"{key}={value}" for value in override.sweep_string_iterator())
    else:
        yield key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
