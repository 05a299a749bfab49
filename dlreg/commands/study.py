"""`dlreg study`: the lecture's tables. Lists them, or runs what is missing of one and prints it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlreg import ui
from dlreg.commands.arguments import study_parser
from dlreg.commands.signals import ending_on_signals
from dlreg.commands.where import add_flags, executor
from dlreg.commands.words import named, planned
from dlreg.config.options import user_config_dirs
from dlreg.display import delivered
from dlreg.errors import UserError

if TYPE_CHECKING:
    from dlreg.report.table import Table
    from dlreg.study.cells import Cell
    from dlreg.study.executor import Executor
    from dlreg.study.plan import Plan


def run(argv: list[str]) -> int:
    """List the studies, or run one; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = study_parser("study", "Run what is missing of a study and print its table.")
    add_flags(parser)
    parser.add_argument("words", nargs="*", metavar="NAME | KEY=VALUE", help="without a name: list the studies")
    given = parser.parse_intermixed_args(rest)
    name = named(given.words)
    if name is None:
        _list(given.words, folders)
        delivered()
        return 0
    launch, given.words = executor(given.words, given, folders)
    plan = planned(name, given, folders)
    for line in plan.remarks:
        ui.err.print(line, markup=False)
    if given.dry_run:
        dry_run(plan, launch)
        delivered()
        return 0
    return carry_out(plan, launch)


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
        if found.source:
            drawn.add_row("", "", found.source)
        for budget, level in found.budgets.items():
            drawn.add_row("", "", f"{budget}: {study.cost(found, level)}  {study.state(name, budget, outputs)}")
    ui.out.print(drawn)
    ui.out.print(
        "dlreg study NAME budget=smoke --dry-run    prints its runs; without --dry-run it runs what is missing"
    )


def dry_run(plan: Plan, launch: Executor) -> None:
    """Print the runs and the estimated time, and run nothing."""
    from dlreg.study.execute import estimate
    from dlreg.study.tabulate import wanted

    cells = [*plan.trial_cells, *wanted(plan)]
    todo = told(cells)
    later = plan.unknown
    if later:
        ui.out.print(f"{'missing':<12}{later} runs with the settings that the trials will choose")
    at_least = "at least " if plan.looks else ""
    total, missing = len(cells) + later, len(todo) + later
    time = duration_of(estimate(plan, todo), launch)
    ui.out.print(f"{at_least}{total} runs: {total - missing} finished, {missing} to do, {time}")
    if plan.looks:
        most = len(plan.trial_cells) + len(plan.rows) * plan.looks.max_seeds
        ui.out.print(f"at most {most} runs, if no row is settled before max_seeds={plan.looks.max_seeds}")


def told(cells: Sequence[Cell]) -> list[Cell]:
    """Print each cell with what there is of it; returns those that are to do."""
    for cell in cells:
        result = cell.present()
        status = "cut" if cell.cut else result.status if result else "missing"
        ui.out.print(f"{status:<12}{cell}", markup=False)
    return [cell for cell in cells if not cell.over]


def duration_of(seconds: float | None, launch: Executor) -> str:
    """How long runs take that take so many seconds one after the other."""
    from dlreg.report.protocol import duration

    if seconds is None:
        return "how long is known once one ran"
    if launch.launched:
        return f"about {duration(seconds)} one after the other, divided by how many the launcher runs at once"
    return f"about {duration(seconds / min(launch.jobs, os.cpu_count() or 1))} with --jobs {launch.jobs}"


def carry_out(plan: Plan, launch: Executor) -> int:
    """Run what is missing and print the table; returns the exit status."""
    from dlreg.report.render import render
    from dlreg.study import execute
    from dlreg.study.tabulate import table

    ui.err.print(f"{plan.title}: {plan.budget.text}".removesuffix(": "), markup=False)
    with ending_on_signals():
        plan = execute.run(plan, launch)
    found = table(plan)
    ui.out.print(render(found, "rich"))
    return ended(plan, found)


def ended(plan: Plan, table: Table) -> int:
    """Tell once more what did not go well; returns the exit status."""
    from dlreg.study.cells import tell_unfinished

    for row in plan.rows:
        tell_unfinished(row.all_cells, [cell.present() for cell in row.all_cells])
    bad = {"failed", "missing", "interrupted"}
    return 1 if any(bad & set(row.status) for row in table.rows) else 0
