"""`dlreg ablate`: one recipe, taken apart. Runs what is missing and prints what each of its words is worth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.commands.output import write
from dlreg.commands.signals import ending_on_signals
from dlreg.commands.study import dry_run, ended
from dlreg.commands.table import put
from dlreg.commands.where import add_flags, executor
from dlreg.commands.words import margin, seeds_asked, split
from dlreg.config.options import user_config_dirs
from dlreg.display import delivered
from dlreg.errors import UserError
from dlreg.report.render import FORMATS

if TYPE_CHECKING:
    from dlreg.report.effects import Effects
    from dlreg.report.table import Table
    from dlreg.study.ablation import Recipe
    from dlreg.study.executor import Executor
    from dlreg.study.plan import Plan

TEXT = """Take one recipe apart: the rows all, all but each word, none, none plus each word, and what every word gains.

Words are the options of reg and aug, and a schedule, norm or init that differs from what runs without it; data, model and
optimizer are what the recipe is tried on. A value inside an option, reg.dropout.p=0.3, comes and goes with its word.

KEY=VALUE          the recipe, as for `dlreg train`
seeds=5            how many, or which: seeds=0,1,2 [3]; or seeds=auto: more until each row is settled
words=A,B          leave out these alone: options (dropout) or groups (optimizer, reg)"""


def run(argv: list[str]) -> int:
    """Run what is missing, print the table and the bars; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    given = _parser().parse_intermixed_args(rest)
    _check(given)
    launch, given.words = executor(given.words, given, folders)
    own, others = split(given.words)
    if own:
        raise UserError(f"{next(iter(own))}: an ablation has none; the recipe says what a run is, and nothing is tuned")
    seeds, looks, others = seeds_asked(others)
    chosen = dict(word.split("=", 1) for word in others if word.startswith("words="))
    from dlreg.study import plan as planning  # torch comes with it
    from dlreg.study.ablation import recipe, study

    taken = recipe([word for word in others if not word.startswith("words=")], chosen.get("words"), folders)
    made = study(taken, given.factorial)
    plan = planning.plan(
        planning.Request(Path("ablate"), seeds=seeds, config_dirs=folders, looks=looks, margin=given.margin, study=made)
    )
    if given.dry_run:
        dry_run(plan, launch)
        delivered()
        return 0
    return _run(plan, taken, given, launch)


def _parser() -> Parser:
    parser = Parser("ablate", TEXT)
    add_flags(parser)
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument(
        "--factorial",
        action="store_true",
        help="every combination, for effects, interactions, shares",
    )
    parser.add_argument(
        "--margin", type=margin, metavar="M", help="differences below it do not matter: makes `equivalent` a verdict"
    )
    parser.add_argument("--format", choices=FORMATS, default="rich")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table there instead of printing")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the bars as well: a .png or .svg")
    return parser


def _check(given: argparse.Namespace) -> None:
    if given.format == "rich" and given.output:
        raise UserError("-o FILE needs --format md, latex, csv, json or html")
    if given.plot and given.plot.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--plot {given.plot} must end in .png or .svg")
    if strangers := [word for word in given.words if "=" not in word]:
        raise UserError(f"{strangers[0]}: an ablation is described by KEY=VALUE")


def _run(plan: Plan, taken: Recipe, given: argparse.Namespace, launch: Executor) -> int:
    from dlreg.report.bars import bars
    from dlreg.study import execute

    ui.err.print(f"{plan.study.title}: {len(plan.rows)} rows", markup=False)
    with ending_on_signals():
        plan = execute.run(plan, launch)
    table, effects = _judged(plan, taken.names, listed=given.format != "rich")
    put(table, given.format, given.output)
    if given.format == "rich":
        ui.out.print(bars(effects))
    if given.plot:
        from dlreg.report.effects_plot import effects_figure  # matplotlib is slow to load
        from dlreg.report.plot import file_of, styled

        svg = given.plot.suffix.lower() == ".svg"
        write(given.plot, file_of(styled(lambda: effects_figure(effects, table)), "svg" if svg else "png"), "--plot")
    return ended(plan, table)


def _judged(plan: Plan, names: Sequence[str], listed: bool) -> tuple[Table, Effects]:
    """The table with the ablation's own sentences, and what they rest on."""
    from dataclasses import replace

    from dlreg.report.effects import effects
    from dlreg.report.effects_words import words
    from dlreg.study.ablation import rows, turned
    from dlreg.study.tabulate import table

    found, other = table(plan), turned(plan, names)
    against_none = table(other) if other else None
    of = effects(found, names, rows(names, len(plan.rows) == 2 ** len(names)), against_none)
    lines = words(of, listed)
    return replace(found, title=plan.study.title, protocol=lines | found.protocol | lines, effects=of.as_data()), of
