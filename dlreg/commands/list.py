"""`dlreg list`: the catalogue, read from the first comment line of every option's YAML."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.config.options import headline, options, user_config_dirs
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError, did_you_mean


def run(argv: list[str]) -> int:
    """Print every option of the groups asked for; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = Parser("list", "Every group and option, one line each.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of {', '.join(GROUPS)}; default: all")
    wanted = parser.parse_args(rest).groups or list(GROUPS)
    for group in wanted:
        if group not in GROUPS:
            raise UserError(
                f"{group}: there is no such group.{did_you_mean(group, GROUPS)} Allowed: {', '.join(GROUPS)}."
            )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for group in wanted:
        stacks = f"stacks: {group}=\\[a,b]" if GROUPS[group].stack else ""
        table.add_row(f"[bold]{group}[/bold]", stacks)
        for name, path in options(group, folders).items():
            table.add_row(escape(f"  {name}"), escape(headline(path)))
        table.add_row()
    ui.out.print(table)
    return 0
