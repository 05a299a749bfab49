"""`dlreg report`: a run, a study or a set of runs as a page that opens in any browser, without a network."""

from __future__ import annotations

from pathlib import Path

from dlreg import ui
from dlreg.commands.arguments import comparison_parser
from dlreg.commands.output import write
from dlreg.commands.table import collect
from dlreg.config.options import user_config_dirs
from dlreg.errors import UserError
from dlreg.run.result import Result, read_all

DESCRIPTION = """One HTML file that needs nothing else.

Of a run (its folder, or its name in outputs): settings, curves, confusions, the worst mistakes, calibration, weights.
Of a study or of folders: the table, dots, curves, what each row changed; with --runs a page for each run beside it."""


def run(argv: list[str]) -> int:
    """Write the page; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = comparison_parser("report", DESCRIPTION)
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), metavar="FILE.html")
    parser.add_argument("--runs", action="store_true", help="also a page for each run, in a folder beside the file")
    given = parser.parse_intermixed_args(rest)
    if given.output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"-o {given.output} must end in .html")
    if len(given.words) == 1 and (folder := _run_folder(given.words[0])):
        _write_run(_only(folder), given.output)
    else:
        table = collect(given, folders)
        runs = [run for row in table.rows for run in row.runs] if given.runs else []
        beside = given.output.with_suffix("")
        from dlreg.report.study_page import study_page

        pages = {run.run_id: f"{beside.name}/{run.run_id}.html" for run in runs}
        write(given.output, study_page(table, pages).encode())
        if runs:
            beside.mkdir(exist_ok=True)
        with ui.bar("pages", len(runs)) as advance:
            for found in runs:
                _write_run(found, beside / f"{found.run_id}.html", f"../{given.output.name}")
                advance()
    ui.out.print(str(given.output), markup=False)
    return 0


def _run_folder(word: str) -> Path | None:
    """The folder of the run that a word names, in itself or in outputs."""
    for folder in (Path(word), Path("outputs") / word):
        if any((folder / name).is_file() for name in ("result.json", "config.json")):
            return folder
    return None


def _only(folder: Path) -> Result:
    results, unreadable = read_all([folder])
    if unreadable:
        raise UserError(f"{folder}: {unreadable[0].why}")
    return results[0]


def _write_run(result: Result, output: Path, home: str = "") -> None:
    from dlreg.report.run_page import run_page  # torch comes with it

    write(output, run_page(result, home).encode())
