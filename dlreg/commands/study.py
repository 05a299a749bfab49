"""`dlreg study`: the lecture's tables. Lists them, or runs what is missing of one and prints it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlreg import ui
from dlreg.commands.arguments import Parser, study_parser
from dlreg.commands.signals import ending_on_signals
from dlreg.commands.words import named, planned
from dlreg.config.options import user_config_dirs
from dlreg.display import delivered
from dlreg.errors import UserError
from dlreg.study import workers

if TYPE_CHECKING:
    from dlreg.study.plan import Plan


def run(argv: list[str]) -> int:
    """List the studies, or run one; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = runner_parser(study_parser("study", "Run what is missing of a study and print its table."))
    parser.add_argument("words", nargs="*", metavar="NAME | KEY=VALUE", help="without a name: list the studies")
    given = parser.parse_intermixed_args(rest)
    name = named(given.words)
    if name is None:
        _list(given.words, folders)
        delivered()
        return 0
    if given.jobs > 1 and not given.dry_run:
        workers.warm()
    plan = planned(name, given, folders)
    if given.dry_run:
        dry_run(plan, given.jobs)
        delivered()
        return 0
    return carry_out(plan, given.jobs)


def runner_parser(parser: Parser) -> Parser:
    """A parser with the flags of every command that runs a study."""
    parser.add_argument("--dry-run", action="store_true", help="print the runs and the estimated time, and run nothing")
    parser.add_argument(
        "--jobs", type=_jobs, default=1, metavar="N", help="processes (a run has one thread, unless threads=N)"
    )
    return parser


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--jobs={text} must be at least 1")
    return int(text)


def _list(words: Sequence[str], folders: Sequence[str]) -> None:
    from rich.table import Table

    from dlreg.study import file as study

    outputs = Path(next((w.split("=", 1)[1] for w in words if w.startswith("outputs=")), "outputs"))
    drawn = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, path in study.studies(folders).items():
        try:
            found = study.load(path)
        except UserError as error:
            ui.err.print(f"left out: {error}", markup=False)
            continue
        drawn.add_row(f"[bold]{name}[/bold]", found.id, found.title)
        drawn.add_row("", "", found.source)
        for budget, level in found.budgets.items():
            drawn.add_row("", "", f"{budget}: {study.cost(found, level)}  {study.state(name, budget, outputs)}")
    ui.out.print(drawn)
    ui.out.print(
        "dlreg study NAME budget=smoke --dry-run    prints its runs; without --dry-run it runs what is missing"
    )


def dry_run(plan: Plan, jobs: int) -> None:
    """Print the runs and the estimated time, and run nothing."""
    from dlreg.report.protocol import duration
    from dlreg.study.execute import estimate
    from dlreg.study.tabulate import wanted

    todo, cells = [], [*plan.trial_cells, *wanted(plan)]
    for cell in cells:
        result = cell.present()
        status = "cut" if cell.cut else result.status if result else "missing"
        if not cell.over:
            todo.append(cell)
        ui.out.print(f"{status:<12}{cell}", markup=False)
    later = plan.unknown
    if later:
        ui.out.print(f"{'missing':<12}{later} runs with the settings that the trials will choose")
    seconds = estimate(plan, todo)
    time = (
        "how long is known once one ran" if seconds is None
        else f"about {duration(seconds / min(jobs, os.cpu_count() or 1))} with --jobs {jobs}"
    )  # fmt: skip
    total = len(cells) + later
    at_least = "at least " if plan.looks else ""
    ui.out.print(f"{at_least}{total} runs: {total - len(todo) - later} finished, {len(todo) + later} to do, {time}")
    if plan.looks:
        most = len(plan.trial_cells) + len(plan.rows) * plan.looks.max_seeds
        ui.out.print(f"at most {most} runs, if no row is settled before max_seeds={plan.looks.max_seeds}")


def carry_out(plan: Plan, jobs: int) -> int:
    """Run what is missing and print the table; returns the exit status."""
    from dlreg.report.render import render
    from dlreg.study import execute
    from dlreg.study.cells import tell_unfinished
    from dlreg.study.tabulate import table

    ui.err.print(f"{plan.study.title}: budget {plan.budget_name}. {plan.budget.text}", markup=False)
    with ending_on_signals():
        plan = execute.run(plan, jobs)
    found = table(plan)
    ui.out.print(render(found, "rich"))
    for row in plan.rows:
        tell_unfinished(row.all_cells, [cell.present() for cell in row.all_cells])
    bad = {"failed", "missing", "interrupted"}
    return 1 if any(bad & set(row.status) for row in found.rows) else 0
