"""`dlreg train`: Hydra composes, `dlreg.run.experiment` runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig

from dlreg.commands.signals import ending_on_signals
from dlreg.config.applying import conditional
from dlreg.config.compose import checked
from dlreg.config.explain import explain
from dlreg.config.options import conf_dir, user_config_dirs
from dlreg.config.schema import Settings
from dlreg.errors import Interrupted, RunsFailed, UserError

WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--info", "-i")


def run(argv: list[str]) -> int:
    """Run what the overrides say; returns the exit status."""
    if any(word.startswith("--experimental-rerun") for word in argv):
        raise UserError("--experimental-rerun loads a pickle, which can run code; give the overrides again instead")
    completing = any(word in ("-sc", "--shell-completion") for word in argv)
    folders, rest = user_config_dirs(argv)
    flags = [word for folder in folders for word in ("--config-dir", folder)]
    if len(folders) > 1:
        raise UserError(f"--config-dir={folders[1]}: only one folder of options can be given")
    if folders and not os.path.isdir(folders[0]):
        raise UserError(f"--config-dir={folders[0]} is not a folder")
    _statuses.clear()
    _refused.clear()
    if any(word in ("-m", "--multirun") for word in rest):
        rest = _axes(rest)
    with _lent_argv(["dlreg" if completing else "dlreg train", *flags, *_flags_first(rest)]), ending_on_signals():
        try:
            hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(task)()
        except (UserError, Interrupted, KeyboardInterrupt):
            raise
        except RunsFailed:
            return 1
        except Exception as error:
            if os.environ.get("DLREG_DEBUG"):
                raise
            raise UserError(explain(error)) from error
    if _refused:
        raise _refused.pop()
    return 1 if "failed" in _statuses else 0


def task(cfg: DictConfig) -> Any:
    """One job: a run by itself, or a cell of a sweep (perhaps in a worker process). Returns its Result."""
    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:
        return _cell(cfg, job)
    try:
        return _single(checked(cfg, job.runtime.choices))
    except UserError as error:  # carried past Hydra, which would print a line of its own
        _refused.append(error)
        return None


_statuses: list[str] = []  # how a single run ended, and
_refused: list[UserError] = []  # why it was refused: Hydra hands on neither


def _cell(cfg: DictConfig, job: Any) -> Any:
    from dlreg import ui
    from dlreg.run.experiment import Experiment

    experiment = Experiment.of(checked(cfg, job.runtime.choices))
    live = ui.live or ui.Live(bars=False)
    live.in_sweep = True  # in a worker process too: the lines of several runs at once would be a muddle
    with live.run(live.label(job.overrides.task), experiment.settings.epochs) as report:
        return experiment.run(report)


def _single(settings: Settings) -> Any:
    from dlreg import ui
    from dlreg.run.experiment import Busy, Experiment

    experiment = Experiment.of(settings)
    before = None if settings.rerun else experiment.finished()
    with ui.Live(settings.progress) as live, live.run(experiment.run_id, settings.epochs) as report:
        try:
            result = before or experiment.run(report)
        except Busy as error:
            raise UserError(str(error)) from None
    _statuses.append(result.status)
    _summary(result, experiment.folder, bool(before))
    return result


def _summary(result: Any, folder: Any, before: bool) -> None:
    from dlreg.report.label import outcome
    from dlreg.ui import out, percent

    out.print(f"[bold]{result.status}[/bold]{' already' if before else ''}  {result.run_id}")
    if result.status == "done":
        best = result.test["best_val"]
        epoch = min(result.history, key=lambda r: (r["val_error"], r["val_loss"]))["epoch"] if best else None
        out.print(f"  test error        {percent(result.test['last']['error'])}")
        if best:
            out.print(f"  at the best epoch {percent(best['error'])}  (epoch {epoch}, chosen on validation)")
            out.print(f"  validation error  {percent(result.val['last']['error'])}")
        out.print(f"  training error    {percent(result.train['error'])}")
        out.print(f"  seconds           {result.seconds:.1f}")
    else:
        out.print(f"  {outcome(result)}", markup=False)
    for remark in result.remarks:
        out.print(f"  note: {remark}", markup=False)
    out.print(f"  folder            {folder}", markup=False)
    if result.status == "failed":
        out.print(f"  traceback         {folder / 'traceback.txt'}", markup=False)
    elif before:
        out.print("  (rerun=true runs it again)")
    else:
        out.print("next: dlreg train -m reg=none,dropout seed=0,1,2    then: dlreg table", markup=False)


def _flags_first(argv: list[str]) -> list[str]:
    """Hydra 1.3 refuses a flag between overrides; move them to the front."""
    flags, rest, it = [], [], iter(argv)
    for word in it:
        if not word.startswith("-"):
            rest.append(word)
            continue
        flags.append(word)
        if word in WITH_VALUE and (value := next(it, None)) is not None:
            flags.append(value)
    return flags + rest


def _axes(argv: list[str]) -> list[str]:
    """In a sweep, one value for an option's key is an axis of length one: it need not apply to every cell either.

    Hydra would put a plain value into the config of the whole sweep, where the option may not be chosen.
    """
    parser = OverridesParser.create()

    def axis(word: str) -> str:
        try:
            override = parser.parse_override(word)
        except OverrideParseException:  # Hydra will say so
            return word
        if not conditional(override) or override.is_sweep_override():
            return word
        key, _, value = word.partition("=")
        return f"{key}=choice({value})"

    return [word if word.startswith("-") else axis(word) for word in argv]


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
