"""`dlreg train`: Hydra composes, `dlreg.run.experiment` runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from dlreg.commands.advice import after_divergence, next_commands
from dlreg.commands.signals import ending_on_signals
from dlreg.commands.words import margin, seeds_asked
from dlreg.config import compose, guard
from dlreg.config.applying import conditional
from dlreg.config.explain import explain
from dlreg.config.options import conf_dir, user_config_dirs
from dlreg.config.schema import Settings
from dlreg.display import delivered
from dlreg.errors import RunsFailed, UserError
from dlreg.report.question import Question
from dlreg.study.workers import end_with_parent

if TYPE_CHECKING:  # torch comes with them
    from dlreg.run.experiment import Experiment
    from dlreg.run.result import Result
    from dlreg.study.cells import Cell


def run(argv: list[str]) -> int:
    """Run what the overrides say; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    if len(folders) > 1:
        raise UserError(f"--config-dir={folders[1]}: only one folder of options can be given")
    flags, overrides = guard.split_flags(rest)
    many = any(flag in ("-m", "--multirun") for flag in flags)
    flags, overrides, question = _asked(flags, overrides, many)
    if [flag for flag in flags if flag not in ("-m", "--multirun", "-r", "--run")]:
        return _tell(flags, overrides, folders)
    with ending_on_signals():
        return _sweep(overrides, folders, question) if many else _single(overrides, folders)


def _asked(flags: Sequence[str], overrides: Sequence[str], many: bool) -> tuple[list[str], list[str], Question]:
    """`(flags, overrides, question)` without the words that are dlreg's own: seeds, max_seeds and --margin, for `-m`."""
    kept, size = list(flags), None
    for i, flag in reversed([*enumerate(flags)]):
        name, equals, value = flag.partition("=")
        if name == "--margin":
            size = margin(value if equals else flags[i + 1])
            del kept[i : i + (1 if equals else 2)]
    seeds, looks, others = seeds_asked(overrides)
    if not many and (size is not None or len(others) < len(overrides)):
        raise UserError("seeds, max_seeds and --margin are for several runs: dlreg train -m; one run has seed=0")
    if len(others) < len(overrides):
        guard.once(overrides)
        if any(word.partition("=")[0].lstrip("+~") == "seed" for word in others):
            raise UserError("seed and seeds say the same in two ways: give one")
    if seeds is not None:
        others.append(f"seed={','.join(map(str, seeds))}")
    return kept, others, Question(margin=size, looks=looks)


def _tell(flags: Sequence[str], overrides: Sequence[str], folders: Sequence[str]) -> int:
    """Help, the config, completion: what Hydra prints, and nothing is run."""
    completing = any(word in ("-sc", "--shell-completion") for word in flags)
    if not completing:
        guard.words(overrides)
    if folders and not completing:
        with compose.hydra() as loader:
            compose.load(loader, overrides, folders)
    where = [word for folder in folders for word in ("--config-dir", folder)]
    with _lent_argv(["dlreg" if completing else "dlreg train", *where, *flags, *overrides]):
        try:
            hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(_no_task)()
        except Exception as error:
            if os.environ.get("DLREG_DEBUG"):
                raise
            raise UserError(explain(error)) from error
    delivered()
    return 0


def _sweep(overrides: Sequence[str], folders: Sequence[str], question: Question) -> int:
    """Hand the overrides to the sweeper, as `hydra.main` does, once the config was seen to be harmless."""
    with compose.hydra() as loader:
        cfg = compose.load(loader, _axes(overrides), folders, RunMode.MULTIRUN)
        HydraConfig.instance().set_config(cfg)
        context = HydraContext(config_loader=loader, callbacks=Callbacks())
        try:
            sweeper: Any = Plugins.instance().instantiate_sweeper(config=cfg, hydra_context=context, task_function=task)
            sweeper.question = question
            sweeper.sweep(list(cfg.hydra.overrides.task))
        except UserError:
            raise
        except RunsFailed:
            return 1
        except Exception as error:
            if os.environ.get("DLREG_DEBUG"):
                raise
            raise UserError(explain(error)) from error
    return 0


def cells_of(overrides: Sequence[str], folders: Sequence[str]) -> list[Cell]:
    """The grid that the overrides of a sweep describe, checked. Nothing is run."""
    from dlreg.study.grid import grid

    with compose.hydra() as loader:
        axes = _axes(overrides)
        return grid(axes, loader, compose.load(loader, axes, folders, RunMode.MULTIRUN))


def task(cfg: DictConfig) -> Any:
    """One cell of a sweep, perhaps in a worker process. Returns its Result."""
    from dlreg import ui
    from dlreg.run.experiment import Experiment

    if ui.live is None:
        end_with_parent()
    job = HydraConfig.get()
    experiment = Experiment.of(compose.checked(cfg, job.runtime.choices))
    live = ui.live or ui.Live(bars=False)
    live.in_sweep = True  # in a worker process too: the lines of several runs at once would be a muddle
    with live.run(live.label(job.overrides.task), experiment.settings.epochs) as report:
        return experiment.run(report)


def _no_task(cfg: DictConfig) -> None:
    raise UserError("nothing is run with this flag")


def _single(overrides: Sequence[str], folders: Sequence[str]) -> int:
    parser = OverridesParser.create()
    guard.words(overrides)
    for word in overrides:
        guard.no_interval(parser.parse_override(word))
    result, experiment, before = attempt(compose.compose(overrides, folders))
    _summary(result, experiment.folder, before)
    if result.status == "done" and not before:
        _tell_next(next_commands(result, overrides, experiment.settings))
    elif result.status == "diverged":
        _tell_next([f"try {after_divergence(experiment.settings)}"])
    return 1 if result.status == "failed" else 0


def attempt(settings: Settings) -> tuple[Result, Experiment, bool]:
    """One run, displayed: its result, the experiment, and whether it was done before.

    Raises:
        UserError: bad input, or another process runs it.
    """
    from dlreg import ui
    from dlreg.run.experiment import Busy, Experiment

    experiment = Experiment.of(settings)
    before = experiment.earlier()
    with ui.Live(settings.progress) as live, live.run(experiment.run_id, settings.epochs) as report:
        try:
            return before or experiment.run(report), experiment, bool(before)
        except Busy as error:
            raise UserError(str(error)) from None


def _summary(result: Any, folder: Any, before: bool) -> None:
    from dlreg.report.label import NAMES, outcome
    from dlreg.run.result import figure_of
    from dlreg.ui import out, told

    out.print(f"[bold]{result.status}[/bold]{' already' if before else ''}  {result.run_id}")
    if result.status == "done":
        figure, best = figure_of(result.train), result.test["best_val"]
        lines = {f"test {NAMES[figure]}": told(result.test["last"])}
        if best:
            epoch = min(result.history, key=lambda r: (r[f"val_{figure}"], r["val_loss"]))["epoch"]
            lines["at the best epoch"] = f"{told(best)}  (epoch {epoch}, chosen on validation)"
            lines[f"validation {NAMES[figure]}"] = told(result.val["last"])
        lines[f"training {NAMES[figure]}"] = told(result.train)
        lines["seconds"] = f"{result.seconds:.1f}"
        width = max(len(name) for name in (*lines, "at the best epoch"))
        for name, value in lines.items():
            out.print(f"  {name:{width}} {value}", markup=False)
    else:
        out.print(f"  {outcome(result)}", markup=False)
    for remark in result.remarks:
        out.print(f"  note: {remark}", markup=False)
    out.print(f"  folder            {folder}", markup=False)
    if result.status == "failed":
        out.print(f"  traceback         {folder / 'traceback.txt'}", markup=False)
    elif before:
        out.print("  (rerun=true runs it again)")


def _tell_next(lines: Sequence[str]) -> None:
    from dlreg.ui import out

    for i, line in enumerate(lines):
        out.print(f"{'next: ' if i == 0 else '      '}{line}", markup=False)


def _axes(overrides: Sequence[str]) -> list[str]:
    """In a sweep, one value for an option's key is an axis of length one: it need not apply to every cell either.

    Hydra would put a plain value into the config of the whole sweep, where the option may not be chosen.
    """
    parser = OverridesParser.create()

    def axis(word: str) -> str:
        override = parser.parse_override(word)
        if not conditional(override) or override.is_sweep_override():
            return word
        key, _, value = word.partition("=")
        return f"{key}=choice({value})"

    guard.words(overrides)
    return [axis(word) for word in overrides]


@contextmanager
def _lent_argv(argv: list[str]) -> Iterator[None]:
    """Hydra reads sys.argv, and words its own errors unless asked to raise them."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = argv, "1"
    try:
        yield
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full
