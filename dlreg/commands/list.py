"""`dlreg list`: the catalogue, read from the first comment line of every option's YAML."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from rich.markup import escape
from rich.table import Table

import dlreg
from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.config.options import headline, options, text_of, user_config_dirs
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError, did_you_mean, shown


def run(argv: list[str]) -> int:
    """Print every option of the groups asked for; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = Parser("list", f"Every group and option, one line each.\n\nGroups: {', '.join(GROUPS)}")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="GROUP | WORD",
        help="groups, any of those below; or words that options and studies have",
    )
    words = parser.parse_args(rest).words
    wanted = words or list(GROUPS)
    if words and not {*words} <= {*GROUPS}:
        return search(words, folders)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for group in wanted:
        stacks = f"stacks: {group}=\\[a,b]" if GROUPS[group].stack else ""
        table.add_row(f"[bold]{group}[/bold]", stacks)
        for name, path in options(group, folders).items():
            table.add_row(escape(f"  {name}"), escape(headline(path)))
        table.add_row()
    ui.out.print(table)
    return 0


def search(words: list[str], folders: list[str]) -> int:
    """Print the options and studies whose name, headline, text or source has every one of the words.

    Raises:
        UserError: none has.
    """
    options_ = [(f"{g}={name}", path) for g in GROUPS for name, path in options(g, folders).items()]
    studies_ = [(f"study {name}", path) for name, path in options("study", folders).items()]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for title, path in [*options_, *studies_]:
        text = f"{title}\n{text_of(path)}\n{docstrings(path)}".lower()
        if all(word.lower() in text for word in words):
            table.add_row(escape(title), escape(headline(path)))
    if not table.row_count:
        hint = did_you_mean(words[0], [*GROUPS, *(title.partition("=")[2] for title, _ in options_)])
        raise UserError(
            f"{shown(' '.join(words))}: no option and no study has that word.{hint} Groups: {', '.join(GROUPS)}."
        )
    ui.out.print(table)
    return 0


def docstrings(path: Path) -> str:
    """What the sources of an option's classes say of them, read without running anything."""
    found = ""
    for module, name in re.findall(r"_target_: (dlreg[.\w]*)\.(\w+)", text_of(path)):
        source = Path(dlreg.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        tree = ast.parse(source.read_text(encoding="utf-8")) if source.is_file() else ast.Module([], [])
        nodes = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == name]
        found += "".join(ast.get_docstring(node) or "" for node in nodes)
    return found
