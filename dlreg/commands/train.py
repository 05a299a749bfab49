"""`dlreg train`: Hydra composes, `dlreg.run.experiment` runs."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from dlreg import ui
from dlreg.commands import where
from dlreg.commands.advice import after_divergence, next_commands
from dlreg.commands.signals import ending_on_signals
from dlreg.commands.where import executor
from dlreg.commands.words import margin, seeds_asked
from dlreg.config import compose, guard
from dlreg.config.applying import conditional
from dlreg.config.explain import explain
from dlreg.config.options import conf_dir, config_dir_flags, user_config_dirs
from dlreg.config.schema import Settings
from dlreg.display import delivered
from dlreg.errors import RunsFailed, UserError
from dlreg.report.question import Question

if TYPE_CHECKING:  # torch comes with them
    from dlreg.run.experiment import Experiment
    from dlreg.run.result import Result
    from dlreg.study.cells import Cell
    from dlreg.study.executor import Executor


def run(argv: list[str]) -> int:
    """Run what the overrides say; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    if len(folders) > 1:
        raise UserError(f"--config-dir={folders[1]}: only one folder of options can be given")
    flags, overrides = guard.split_flags(rest)
    many = any(flag in ("-m", "--multirun") for flag in flags)
    flags, given = _own(flags)
    overrides, question = _asked(overrides, given, many)
    if [flag for flag in flags if flag not in ("-m", "--multirun", "-r", "--run")]:
        return _tell(flags, overrides, folders)
    if not many:
        with ending_on_signals():
            return _single(overrides, folders)
    launch, words = executor(overrides, given, folders)
    with ending_on_signals():
        return _sweep(cells_of(words, folders), launch, question, given)


def _own(flags: Sequence[str]) -> tuple[list[str], Namespace]:
    """Hydra's flags with their values, and what those say that are dlreg's own."""
    kept, given, rest = list[str](), Namespace(margin=None, dry_run=False), iter(flags)
    for flag in rest:
        name, equals, value = flag.partition("=")
        if name == "--dry-run":
            given.dry_run = True
        elif name == "--margin":
            given.margin = margin(value if equals else next(rest))
        elif name in where.FLAGS:
            setattr(given, name[2:].replace("-", "_"), where.whole(name, value if equals else next(rest)))
        else:
            kept.append(flag)
    return kept, given


def _asked(overrides: Sequence[str], given: Namespace, many: bool) -> tuple[list[str], Question]:
    """`(overrides, question)`, the overrides without seeds= and max_seeds=, which are for `-m`."""
    seeds, looks, others = seeds_asked(overrides)
    if not many and (vars(given) != {"margin": None, "dry_run": False} or len(others) < len(overrides)):
        flags = ", ".join(["--margin", "--dry-run", *where.FLAGS])
        raise UserError(f"seeds, max_seeds, {flags} are for several runs: dlreg train -m; one run has seed=0")
    if len(others) < len(overrides):
        guard.once(overrides)
        if any(word.partition("=")[0].lstrip("+~") == "seed" for word in others):
            raise UserError("seed and seeds say the same in two ways: give one")
    if seeds is not None:
        others.append(f"seed={','.join(map(str, seeds))}")
    return others, Question(margin=given.margin, looks=looks)


def _tell(flags: Sequence[str], overrides: Sequence[str], folders: Sequence[str]) -> int:
    """Help, the config, completion: what Hydra prints, and nothing is run."""
    completing = any(word in ("-sc", "--shell-completion") for word in flags)
    if not completing:
        guard.words(overrides)
    if folders and not completing:
        with compose.hydra() as loader:
            compose.load(loader, overrides, folders)
    where = config_dir_flags(folders)
    with _lent_argv(["dlreg" if completing else "dlreg train", *where, *flags, *overrides]):
        try:
            hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(_no_task)()
        except Exception as error:
            if os.environ.get("DLREG_DEBUG"):
                raise
            raise UserError(explain(error)) from error
    delivered()
    return 0


def _sweep(grid: Sequence[Cell], launch: Executor, question: Question, given: Namespace) -> int:
    """Run what is not finished of the grid and print its table, or say what would be run."""
    from dlreg.commands.study import duration_of, told
    from dlreg.study.sweep import rows, sweep, wanted

    cells = rows(grid, question)
    if given.dry_run:
        todo = told(wanted(cells, question))
        seconds = [result.seconds for cell in cells if (result := cell.experiment.finished()) and result.seconds]
        each = sum(seconds) / len(seconds) if seconds else None
        time = duration_of(None if each is None and todo else (each or 0.0) * len(todo), launch)
        total = len(wanted(cells, question))
        ui.out.print(
            f"{'at least ' * bool(question.looks)}{total} runs: {total - len(todo)} finished, {len(todo)} to do, {time}"
        )
        delivered()
        return 0
    try:
        sweep(cells, launch, question)
    except RunsFailed:
        return 1
    return 0


def cells_of(overrides: Sequence[str], folders: Sequence[str]) -> list[Cell]:
    """The grid that the overrides of a sweep describe, checked. Nothing is run."""
    from dlreg.study.grid import grid

    return grid(_axes(overrides), folders)


def _no_task(cfg: DictConfig) -> None:
    raise UserError("nothing is run with this flag")


def _single(overrides: Sequence[str], folders: Sequence[str]) -> int:
    for override in guard.words(overrides):
        guard.no_interval(override)
    result, experiment, before = attempt(compose.compose(overrides, folders))
    _summary(result, experiment.folder, before)
    if result.status == "done" and not before:
        _tell_next(next_commands(result, [*config_dir_flags(folders), *overrides], experiment.settings))
    elif result.status == "diverged":
        _tell_next([f"try {after_divergence(experiment.settings)}"])
    return 1 if result.status == "failed" else 0


def attempt(settings: Settings) -> tuple[Result, Experiment, bool]:
    """One run, displayed: its result, the experiment, and whether it was done before.

    Raises:
        UserError: bad input, or another process runs it.
    """
    from dlreg.run.claim import Busy, abandoned
    from dlreg.run.experiment import Experiment

    experiment = Experiment.of(settings)
    before = experiment.earlier()
    with ui.Live(settings.progress) as live, live.run(experiment.run_id, settings.epochs) as report:
        while True:
            try:
                return before or experiment.run(report), experiment, bool(before)
            except Busy as error:
                if not abandoned(experiment.folder):
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

    def axis(override: Override) -> str:
        word = str(override.input_line)
        if not conditional(override) or override.is_sweep_override():
            return word
        key, _, value = word.partition("=")
        return f"{key}=choice({value})"

    return [axis(override) for override in guard.words(overrides)]


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
