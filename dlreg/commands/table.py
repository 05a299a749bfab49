"""`dlreg table`: compare the runs in a set of folders, or print a study."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dlreg import ui
from dlreg.commands.arguments import comparison_parser
from dlreg.commands.output import write
from dlreg.commands.words import columns_of, named, planned, seeds_asked
from dlreg.config.options import user_config_dirs
from dlreg.display import print_data
from dlreg.errors import UserError, did_you_mean
from dlreg.report.blocks import cut
from dlreg.report.judge import arranged, compare
from dlreg.report.label import describe, words_of
from dlreg.report.order import ordered
from dlreg.report.question import Question
from dlreg.report.render import FORMATS, Format, render
from dlreg.report.table import Table
from dlreg.report.target import targeted
from dlreg.report.where import Condition, rows_where, where
from dlreg.run.result import Result, damaged, read_all
from dlreg.study.file import studies


def run(argv: list[str]) -> int:
    """Print or write the table; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = comparison_parser(
        "table",
        "Compare runs: rows are what differs between their configs, seeds are grouped. Or print a study "
        "as far as it was run; nothing is run.",
    )
    parser.add_argument("--format", choices=FORMATS, default="rich")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of printing")
    parser.add_argument("--no-protocol", action="store_true", help="without what stands under the table")
    given = parser.parse_intermixed_args(rest)
    if given.format == "rich" and given.output:
        raise UserError("-o FILE needs --format md, latex, csv, json or html")
    table = collect(given, folders)
    put(replace(table, protocol={}) if given.no_protocol else table, given.format, given.output)
    return 0


def put(table: Table, style: Format, output: Path | None) -> None:
    """Print the table, or write it to a file that a user named."""
    text = render(table, style)
    if output:
        write(output, (text + "\n").encode())
    elif style == "rich":
        ui.out.print(text)
    else:
        print_data(text)


def collect(given: argparse.Namespace, folders: list[str]) -> Table:
    """The table of the runs, or of the study, that the arguments name, as they want it.

    Raises:
        UserError: no such folder, study, column, word or baseline.
    """
    name = named(given.words)
    conditions = [Condition.of(text) for text in given.where]
    if name is not None and not Path(name).is_dir():
        if not name.endswith((".yaml", ".yml")) and name not in (known := studies(folders)):
            hint = f" Write --{name} ..." if name in vars(given) else did_you_mean(name, known)
            raise UserError(f"{name} is neither a folder nor a study.{hint}")
        table = _of_study(name, given, folders, conditions)
    else:
        table = _of_folders(given, conditions)
    if given.sort:
        table = ordered(table, given.sort)
    if given.target is not None:
        table = targeted(table, given.target)
    return replace(table, title=given.title or table.title)


def _of_folders(given: argparse.Namespace, conditions: Sequence[Condition]) -> Table:
    seeds, looks, words = seeds_asked(given.words)
    if seeds is not None:
        raise UserError("seeds: folders have the seeds that they have; seeds=auto judges them look after look")
    if given.row:
        raise UserError("--row adds a row to a study; these are folders")
    if given.baseline and given.against:
        raise UserError("--baseline and --against say the same in two ways: give one")
    columns = columns_of(given.columns) if given.columns else ()
    results, left_out = _runs([Path(word) for word in words] or [Path("outputs")], given.by), ""
    if conditions:
        results, left_out = where(results, conditions)
    question = Question(columns, given.select or "last", given.margin, given.population, looks).of(results)
    if given.by:
        table = cut(results, given.by, given.baseline, given.against, question)
    else:
        table = arranged(compare(results, given.baseline, given.against, question))
    if not any(row.baseline for row in table.rows):
        known = {word for row in table.rows for key, value in row.label.items() for word in (value, f"{key}={value}")}
        if given.baseline:
            raise UserError(f"--baseline={given.baseline}: no row is called that.{did_you_mean(given.baseline, known)}")
        if given.against:
            hint = "" if given.against in known else did_you_mean(given.against, known)
            raise UserError(f"--against={given.against}: no two rows differ in that alone.{hint}")
    return replace(table, protocol={"Where": left_out} | table.protocol) if left_out else table


def _runs(paths: Sequence[Path], by: str | None) -> list[Result]:
    missing = [folder for folder in paths if not folder.is_dir()]
    if missing:
        raise UserError(f"{missing[0]} is not a folder (dlreg train writes runs to outputs/)")
    results, unreadable = read_all(paths, lambda result: words_of(result).get(by, "") if by else "")
    for bad in unreadable:
        ui.err.print(f"left out {bad.folder}: {bad.why}", markup=False)
    for result in results:
        for name in damaged(result, result.folder) if result.folder else ():
            why = f"{name} is damaged or gone; the numbers stand, and the same command makes the file again"
            ui.err.print(f"{result.folder}: {why}", markup=False)
    if not results:
        raise UserError(f"no runs in {', '.join(map(str, paths))}; `dlreg train` makes one")
    return results


def _of_study(name: str, given: argparse.Namespace, folders: list[str], conditions: Sequence[Condition]) -> Table:
    from dlreg.study.tabulate import table  # torch comes with it

    if "/" in name and not name.endswith((".yaml", ".yml")):
        raise UserError(f"{name} is not a folder (dlreg train writes runs to outputs/)")
    if given.baseline or given.against or given.columns or given.select or given.by:
        raise UserError("--baseline, --against, --columns, --select and --by are for folders; a study says its own")
    plan = planned(name, given, folders)
    whole = table(plan, given.margin, given.population)
    configs = [row.cells[0].experiment.settings.model_dump() if row.cells else {} for row in plan.rows]
    words = [describe(config) | row.label for config, row in zip(configs, whole.rows, strict=True)]
    return rows_where(whole, words, conditions) if conditions else whole
