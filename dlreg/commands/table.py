"""`dlreg table`: compare the runs in a set of folders, or print a study."""

from __future__ import annotations

import argparse
from pathlib import Path

from dlreg import durable, ui
from dlreg.commands.arguments import comparison_parser, named, planned
from dlreg.config.options import user_config_dirs
from dlreg.display import print_data
from dlreg.errors import UserError, did_you_mean
from dlreg.report.judge import arranged, compare
from dlreg.report.metrics import METRICS
from dlreg.report.question import Question, columns_for
from dlreg.report.render import FORMATS, render
from dlreg.report.table import Table
from dlreg.run.result import read_all
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
    given = parser.parse_intermixed_args(rest)
    if given.format == "rich" and given.output:
        raise UserError("-o FILE needs --format md, latex, csv, json or html")
    table = collect(given, folders)
    text = render(table, given.format)
    if given.output:
        write(given.output, (text + "\n").encode())
    elif given.format == "rich":
        ui.out.print(text)
    else:
        print_data(text)
    return 0


def collect(given: argparse.Namespace, folders: list[str]) -> Table:
    """The table of the runs, or of the study, that the arguments name.

    Raises:
        UserError: no such folder, study, column or baseline.
    """
    name = named(given.words)
    if name is not None and not Path(name).is_dir():
        if not name.endswith((".yaml", ".yml")) and name not in (known := studies(folders)):
            raise UserError(f"{name} is neither a folder nor a study.{did_you_mean(name, known)}")
        return _of_study(name, given, folders)
    paths = [Path(word) for word in given.words] or [Path("outputs")]
    missing = [folder for folder in paths if not folder.is_dir()]
    if missing:
        raise UserError(f"{missing[0]} is not a folder (dlreg train writes runs to outputs/)")
    if given.row:
        raise UserError("--row adds a row to a study; these are folders")
    results, unreadable = read_all(paths)
    for bad in unreadable:
        ui.err.print(f"left out {bad.folder}: {bad.why}", markup=False)
    if not results:
        raise UserError(f"no runs in {', '.join(map(str, paths))}; `dlreg train` makes one")
    if given.baseline and given.against:
        raise UserError("--baseline and --against say the same in two ways: give one")
    columns = _columns(given.columns) if given.columns else columns_for(results)
    question = Question(columns, given.select or "last", given.margin, given.population)
    table = arranged(compare(results, given.baseline, given.against, question))
    if not any(row.baseline for row in table.rows):
        if given.baseline:
            raise UserError(f"--baseline={given.baseline}: no row is called that")
        if given.against:
            raise UserError(f"--against={given.against}: no two rows differ in that alone")
    return table


def write(path: Path, content: bytes) -> None:
    """To a file that a user named.

    Raises:
        UserError: it cannot be written.
    """
    try:
        durable.write_atomic(path, content)
    except OSError as error:
        raise UserError(f"-o {path} cannot be written: {error.strerror}") from None


def _of_study(name: str, given: argparse.Namespace, folders: list[str]) -> Table:
    from dlreg.study.tabulate import table  # torch comes with it

    if "/" in name and not name.endswith((".yaml", ".yml")):
        raise UserError(f"{name} is not a folder (dlreg train writes runs to outputs/)")
    if given.baseline or given.against or given.columns or given.select:
        raise UserError("--baseline, --against, --columns and --select are for folders; a study says its own")
    return table(planned(name, given.words, given.row, folders), given.margin, given.population)


def _columns(text: str) -> list[str]:
    found = text.split(",")
    for name in found:
        if name not in METRICS:
            raise UserError(f"--columns: {name} is not one; allowed: {', '.join(METRICS)}")
    return found
