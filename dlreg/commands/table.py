"""`dlreg table`: compare the runs in a set of folders."""

from __future__ import annotations

import argparse
from pathlib import Path

from dlreg import durable, ui
from dlreg.errors import UserError
from dlreg.result import read_all
from dlreg.table import FORMATS, arranged, compare, render


def run(argv: list[str]) -> int:
    """Print or write the table; returns the exit status."""
    parser = argparse.ArgumentParser(
        "dlreg table",
        description="Compare runs: rows are what differs between their configs, seeds are grouped.",
    )
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[Path("outputs")], help="run folders, or folders of them"
    )
    parser.add_argument("--format", choices=FORMATS, default="rich")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead of printing")
    parser.add_argument("--baseline", metavar="WORD", help="the row that differences are taken to (e.g. reg=none)")
    given = parser.parse_args(argv)
    missing = [folder for folder in given.folders if not folder.is_dir()]
    if missing:
        raise UserError(f"{missing[0]} is not a folder (dlreg train writes runs to outputs/)")
    results, unreadable = read_all(given.folders)
    for bad in unreadable:
        ui.err.print(f"left out {bad.folder}: {bad.why}", markup=False)
    if not results:
        raise UserError(f"no runs in {', '.join(map(str, given.folders))}; `dlreg train` makes one")
    table = arranged(compare(results, given.baseline))
    if given.baseline and not any(r.delta is None and r.test_error for r in table.rows):
        raise UserError(f"--baseline={given.baseline}: no row is called that")
    if given.format == "rich" and given.output:
        raise UserError("-o FILE needs --format md, latex, csv or json")
    text = render(table, given.format)
    if given.output:
        try:
            durable.write_atomic(given.output, (text + "\n").encode())
        except OSError as error:
            raise UserError(f"-o {given.output} cannot be written: {error.strerror}") from None
    elif given.format == "rich":
        ui.out.print(text)
    else:
        print(text)
    return 0
