"""Many experiments: the grid of `-m`, without what is finished, through any Hydra launcher."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from dlreg import ui
from dlreg.commands import train
from dlreg.config.compose import checked
from dlreg.config.explain import explain
from dlreg.config.schema import GROUPS, Settings, walk
from dlreg.errors import UserError, did_you_mean
from dlreg.run import experiment, parts
from dlreg.run.result import Result


@dataclass(frozen=True)
class Cell:
    """One point of the grid."""

    overrides: tuple[str, ...]
    settings: Settings

    @property
    def folder(self) -> Path:
        """Where its run goes."""
        return experiment.folder_of(self.settings)


def sweep(arguments: Sequence[str], loader: ConfigLoader, config: DictConfig, launcher: Launcher) -> None:
    """Check every cell, run what is not finished, report each at once and all at the end.

    Raises:
        UserError: one cell is bad; nothing was run.
    """
    cells = grid(arguments, loader, config)
    run_cells(cells, lambda todo: _launch(todo, launcher))
    _report(cells)


def run_cells(cells: Sequence[Cell], launch: Callable[[Sequence[Cell]], Iterator[tuple[Cell, Result | str]]]) -> None:
    """Run what is not finished: refuse what cannot work before anything starts, tell each outcome as it comes.

    `launch` yields a cell and its Result, or in words why there is none.

    Raises:
        UserError: one cell is bad; nothing was run.
    """
    todo = [c for c in cells if c.settings.rerun or not experiment.finished_result(c.folder)]
    _rehearse(todo)
    ui.err.print(f"{len(cells)} runs: {len(cells) - len(todo)} finished before, {len(todo)} to do")
    with ui.Live(bool(cells[0].settings.progress)) as ui.live:
        assert ui.live is not None
        ui.live.shared = frozenset.intersection(*(frozenset(c.overrides) for c in cells))
        with ui.live.sweep(len(cells), lambda: sum((c.folder / "result.json").exists() for c in cells)):
            for number, (cell, outcome) in enumerate(launch(todo), start=1):
                line = ui.outcome(outcome) if isinstance(outcome, Result) else f"failed: {outcome}"
                ui.err.print(f"[{number}/{len(todo)}] {ui.live.label(cell.overrides)}: {line}", markup=False)
    ui.live = None


def grid(arguments: Sequence[str], loader: ConfigLoader, config: DictConfig) -> list[Cell]:
    """Every different experiment that the overrides describe, checked.

    A value for a key of one option (`reg.dropout.p=0.1,0.5`) applies to the cells that chose the option; cells it does
    not apply to come out equal and count once. A key that applies to no cell is an error.
    """
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides(list(arguments))
    chosen = [o for o in overrides if not _plain_value(o)]  # groups and Hydra's own keys: these need a composition
    values = [o for o in overrides if _plain_value(o)]
    unused, known = {o.key_or_group for o in values}, set[str]()
    cells: dict[str, Cell] = {}
    for choice in itertools.product(*map(_texts, chosen)):
        cfg = _compose(loader, config, choice)
        known |= {key for key, _ in walk(_tree(cfg))}
        there = [o for o in values if _has(cfg, o.key_or_group)]
        unused -= {o.key_or_group for o in there}
        for point in itertools.product(*map(_texts, there)):
            changed = _with(cfg, [parser.parse_override(text) for text in point])
            settings = parts.resolve(checked(changed, cfg.hydra.runtime.choices))
            cell = Cell((*choice, *point), settings)
            cells.setdefault(str(cell.folder), cell)
    for key in sorted(unused):
        raise UserError(f"{key}: no run of this sweep has such a key.{did_you_mean(key, known)}")
    return list(cells.values())


def _plain_value(override: Override) -> bool:
    """Whether it is `KEY=VALUE` for a key of the experiment: such a value can be set without composing again."""
    key = override.key_or_group
    return not (
        key in GROUPS or key.split(".")[0].split("/")[0] == "hydra" or override.is_add() or override.is_delete()
    )


def _with(cfg: DictConfig, values: Sequence[Override]) -> DictConfig:
    changed = OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"])
    OmegaConf.set_struct(changed, False)
    for override in values:
        OmegaConf.update(changed, override.key_or_group, override.value(), merge=True)
    return changed


def _texts(override: Override) -> Iterator[str]:
    key = override.get_key_element()
    if override.is_sweep_override():
        yield from (f"{key}={value}" for value in override.sweep_string_iterator())
    else:
        yield key if override.is_delete() else f"{key}={override.get_value_element_as_str()}"


def _compose(loader: ConfigLoader, config: DictConfig, overrides: tuple[str, ...]) -> DictConfig:
    try:
        return loader.load_sweep_config(config, list(overrides))
    except Exception as error:
        raise UserError(explain(error)) from error


def _tree(cfg: DictConfig) -> dict[str, Any]:
    tree = OmegaConf.to_container(OmegaConf.masked_copy(cfg, [str(k) for k in cfg if k != "hydra"]))
    assert isinstance(tree, dict)
    return {str(k): v for k, v in tree.items()}


def _has(cfg: DictConfig, key: str) -> bool:
    node: Any = cfg
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node.keys():  # noqa: SIM118  ("in" is false for a null)
            return False
        node = node._get_node(part)
    return True


def _rehearse(cells: Sequence[Cell]) -> None:
    """Refuse what cannot work, once for each kind of cell: the seed does not matter."""
    seen, prepared_for, data = set(), None, None
    for cell in cells:
        settings = cell.settings.model_copy(update={"seed": 0})
        key = experiment.folder_of(settings)
        if key not in seen:
            seen.add(key)
            try:
                if (settings.data, settings.device) != prepared_for:
                    data = parts.make_data(settings, parts.load(settings.data), settings.seed)
                    prepared_for = settings.data, settings.device
                experiment.rehearse(settings, data)
            except UserError as error:
                raise UserError(f"{error}  [in {' '.join(cell.overrides)}]") from None


def _launch(cells: Sequence[Cell], launcher: Launcher) -> Iterator[tuple[Cell, Result | str]]:
    """One at a time where the launcher works in this process, so that each outcome is told at once; else all together."""
    alone = type(launcher).__name__ == "BasicLauncher"
    for i in range(0, len(cells), 1 if alone else max(1, len(cells))):
        batch = cells[i : i + 1] if alone else cells
        returns = launcher.launch([list(c.overrides) for c in batch], initial_job_idx=i)
        for cell, job in zip(batch, returns, strict=True):
            completed = job.status == JobStatus.COMPLETED and isinstance(job.return_value, Result)
            yield cell, job.return_value if completed else str(job._return_value)


def _report(cells: Sequence[Cell]) -> None:
    """The table, and what did not go well."""
    from dlreg.report.judge import arranged, compare
    from dlreg.report.render import render

    results = [experiment.result_of(cell.settings) for cell in cells]
    ui.out.print(render(arranged(compare(results)), "rich"))
    counts = Counter(r.status for r in results)
    ui.err.print(", ".join(f"{n} {status}" for status, n in counts.items()))
    for cell, result in zip(cells, results, strict=True):
        # A cell that has no result though the sweep went to its end could not be run: that is a failure too.
        train.statuses.append("failed" if result.status == "interrupted" else result.status)
        if result.status in ("failed", "interrupted"):
            ui.err.print(f"{result.status}: {' '.join(cell.overrides)}: {result.message}", markup=False)
            ui.err.print(f"  {cell.folder}", markup=False)
