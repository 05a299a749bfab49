"""`dlreg study`: the lecture's tables. Lists them, or runs what is missing of one and prints it."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlreg import ui
from dlreg.config.options import user_config_dirs
from dlreg.errors import UserError
from dlreg.study import workers

if TYPE_CHECKING:
    from dlreg.study.plan import Plan

WORDS = """NAME               a study of `dlreg study`, or a YAML file of your own
budget=smoke       smoke (seconds) | laptop | paper (the original recipe)
seeds=5            how many, or which: seeds=0,1,2
KEY=VALUE          any override of `dlreg train`, for every row"""


def run(argv: list[str]) -> int:
    """List the studies, or run one; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = argparse.ArgumentParser(
        "dlreg study", description=f"Run what is missing of a study and print its table.\n\n{WORDS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("words", nargs="*", metavar="NAME | KEY=VALUE", help="without a name: list the studies")
    add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the runs and the estimated time, and run nothing")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes (a run has one thread, unless threads=N)"
    )
    given = parser.parse_intermixed_args(rest)
    if given.jobs < 1:
        raise UserError(f"--jobs={given.jobs} must be at least 1")
    name = named(given.words)
    if name is None:
        _list(given.words, folders)
        return 0
    if given.jobs > 1 and not given.dry_run:
        workers.warm()
    plan = planned(name, given.words, given.row, folders)
    if given.dry_run:
        _dry_run(plan, given.jobs)
        return 0
    return _run(plan, given.jobs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command that takes a study understands."""
    parser.add_argument("--row", action="append", default=[], metavar="'LABEL: KEY=VALUE ...'", help="one more row")
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help="a folder with options and studies of your own")


def named(words: Sequence[str]) -> str | None:
    """The first word that is no KEY=VALUE."""
    return next((word for word in words if "=" not in word), None)


def planned(name: str, words: Sequence[str], rows: Sequence[str], folders: Sequence[str]) -> Plan:
    """The plan that the arguments of a command describe."""
    from dlreg.study.file import find
    from dlreg.study.plan import plan

    if strangers := [word for word in words if "=" not in word and word != name]:
        raise UserError(f"{strangers[0]}: one study at a time, and KEY=VALUE")
    own = dict(word.split("=", 1) for word in words if word.startswith(("budget=", "seeds=")))
    changes = [word for word in words if "=" in word and not word.startswith(("budget=", "seeds="))]
    if any(word.startswith("seed=") for word in changes):
        raise UserError("seed: a study runs several; give seeds=5 or seeds=0,1,2")
    extra = [_row(text) for text in rows]
    seeds = _seeds(own["seeds"]) if "seeds" in own else None
    return plan(find(name, folders), own.get("budget", "smoke"), seeds, changes, extra, folders)


def _seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.strip("[]").split(",")]
    except ValueError:
        found = []
    if "," not in text and "[" not in text and found and found[0] > 0:
        return list(range(found[0]))
    if not found or min(found) < 0 or len(set(found)) < len(found) or ("," not in text and "[" not in text):
        raise UserError(f"seeds={text} must be how many (5) or which (0,1,2)")
    return found


def _row(text: str) -> Any:
    from dlreg.study.file import StudyRow

    label, colon, words = text.partition(":")
    if not colon or not label.strip() or any("=" not in word for word in words.split()):
        raise UserError(f"--row {text!r} must be 'LABEL: KEY=VALUE KEY=VALUE'")
    return StudyRow(label=label.strip(), overrides=words.split())


def _list(words: Sequence[str], folders: Sequence[str]) -> None:
    from rich.table import Table

    from dlreg.study import file as study

    outputs = Path(next((w.split("=", 1)[1] for w in words if w.startswith("outputs=")), "outputs"))
    drawn = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, path in study.studies(folders).items():
        found = study.load(path)
        drawn.add_row(f"[bold]{name}[/bold]", found.id, found.title)
        drawn.add_row("", "", found.source)
        for budget, level in found.budgets.items():
            drawn.add_row("", "", f"{budget}: {study.cost(found, level)}  {study.state(name, budget, outputs)}")
    ui.out.print(drawn)
    ui.out.print(
        "dlreg study NAME budget=smoke --dry-run    prints its runs; without --dry-run it runs what is missing"
    )


def _dry_run(plan: Plan, jobs: int) -> None:
    from dlreg.report.protocol import duration
    from dlreg.run import experiment
    from dlreg.study import plan as plans

    todo = []
    for cell in [*plan.trial_cells, *plan.cells]:
        result = plans.present(cell)
        status = result.status if result else "missing"
        if not experiment.finished_result(cell.folder):
            todo.append(cell)
        ui.out.print(f"{status:<12}{' '.join(cell.overrides)}", markup=False)
    later = sum(len(plan.seeds) for row in plan.rows if not row.cells)
    if later:
        ui.out.print(f"{'missing':<12}{later} runs with the settings that the trials will choose")
    seconds = plans.estimate(plan, todo) + later * plan.budget.run_seconds
    total = len(plan.trial_cells) + len(plan.cells) + later
    ui.out.print(
        f"{total} runs: {total - len(todo) - later} finished, {len(todo) + later} to do, about "
        f"{duration(seconds / min(jobs, os.cpu_count() or 1))} with --jobs {jobs}"
    )


def _run(plan: Plan, jobs: int) -> int:
    from dlreg.commands.train import _signals
    from dlreg.report.render import render
    from dlreg.run.result import STATUSES
    from dlreg.study import plan as plans

    ui.err.print(f"{plan.study.title}: budget {plan.budget_name}. {plan.budget.text}", markup=False)
    with _signals():
        plan = plans.run(plan, jobs)
    found = plans.table(plan)
    ui.out.print(render(found, "rich"))
    counts = Counter({status: 0 for status in STATUSES})
    for row in found.rows:
        counts.update(row.status)
    for row in plan.rows:
        for cell in [*row.cells, *(c for _, cells in row.trials for c in cells)]:
            result = plans.present(cell)
            if result and result.status in ("failed", "interrupted"):
                ui.err.print(f"{result.status}: {' '.join(cell.overrides)}: {result.message}", markup=False)
                ui.err.print(f"  {cell.folder}", markup=False)
    return 1 if counts["failed"] or counts["missing"] or counts["interrupted"] else 0
