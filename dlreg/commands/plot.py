"""`dlreg plot`: a study or a set of runs as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from dlreg import ui
from dlreg.commands.arguments import comparison_parser
from dlreg.commands.output import write
from dlreg.commands.table import collect
from dlreg.config.options import user_config_dirs
from dlreg.errors import UserError
from dlreg.report.table import Kind


def run(argv: list[str]) -> int:
    """Draw it; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = comparison_parser(
        "plot",
        "Draw what dlreg table prints: curves (learning curves with bands), dots (means with intervals and "
        "published values), sweep (a number that varies between rows, on the axis that suits it), path (on such an axis the "
        "coefficients of linear models), terms (on such an axis bias, variance and noise), beside (measured numbers beside "
        "published ones), tuning (the expected best of so many trials, of a study that tunes), fit (the curves of a "
        "regression on one feature, over its samples), regions (the classes that models give to a plane of two features).",
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("plot.png"), metavar="FILE", help="a .png, .svg or .pdf"
    )
    parser.add_argument("--kind", choices=get_args(Kind), help="[of a study the one that suits it, else dots]")
    given = parser.parse_intermixed_args(rest)
    style = given.output.suffix.lower().removeprefix(".")
    if style not in ("png", "svg", "pdf"):
        raise UserError(f"-o {given.output} must end in .png, .svg or .pdf")
    table = collect(given, folders)
    from dlreg.report.plot import draw  # matplotlib is slow to load

    write(given.output, draw(table, given.kind, style))
    ui.out.print(str(given.output), markup=False)
    return 0
