"""What several commands understand: a study and its words, and which runs are compared."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dlreg.config import guard
from dlreg.errors import UserError, shown
from dlreg.report.label import number
from dlreg.report.metrics import METRICS

if TYPE_CHECKING:
    from dlreg.study.file import Study, StudyRow
    from dlreg.study.plan import Plan

SIGNED = ("--sort",)  # flags whose value may begin with a minus sign
WORDS = """NAME               a study of `dlreg study`, or a YAML file of your own
budget=smoke       smoke (seconds) | laptop | paper (the original recipe)
seeds=5            how many, or which: seeds=0,1,2
KEY=VALUE          any override of `dlreg train`, for every row"""


class Parser(argparse.ArgumentParser):
    """A command's arguments: flags are written out, and a mistake is one line like every other."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            f"dlreg {command}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("-cd", "--config-dir", metavar="DIR", help="a folder with options and studies of your own")

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As inherited, and `--sort -seconds` is `--sort=-seconds`: a minus sign does not make a value a flag."""
        words: list[str] = []
        for word in args or ():
            takes = words and words[-1] in SIGNED
            words[-1:] = [f"{words[-1]}={word}"] if takes else [*words[-1:], word]
        return super().parse_intermixed_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """In place of the usage and exit.

        Raises:
            UserError: always.
        """
        raise UserError(shown(message, 200))


def study_parser(command: str, description: str) -> Parser:
    """A parser of what every command that takes a study understands, but for its words."""
    parser = Parser(command, f"{description}\n\n{WORDS}")
    parser.add_argument("--row", action="append", default=[], metavar="'LABEL: KEY=VALUE ...'", help="one more row")
    return parser


def comparison_parser(command: str, description: str) -> Parser:
    """A parser of what says which runs, or which study, are compared."""
    parser = study_parser(command, description)
    parser.add_argument(
        "words", nargs="*", metavar="FOLDER | NAME KEY=VALUE", help="run folders, folders of them, or a study [outputs]"
    )
    parser.add_argument("--baseline", metavar="WORD", help="the row that differences are taken to (e.g. reg=none)")
    parser.add_argument(
        "--against", metavar="WORD", help="compare each row with the one that has this word and is otherwise the same"
    )
    parser.add_argument(
        "--margin", type=_margin, metavar="M", help="a difference below M does not matter: rows can be equivalent"
    )
    parser.add_argument(
        "--population",
        choices=("seeds", "images"),
        default="seeds",
        help="what a verdict must hold for: training again on these test images, or on other test images as well",
    )
    parser.add_argument(
        "--columns", metavar="A,B", help=f"of numbers; the first is judged. Any of {', '.join(METRICS)}"
    )
    parser.add_argument(
        "--select", choices=("last", "best_val"), help="which epoch: the last, or the best on validation"
    )
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="'KEY=A,B'",
        help="only runs (of a study: rows) with one of these values; also KEY!=A, KEY<0.1; several must all hold",
    )
    parser.add_argument(
        "--by", metavar="KEY", help="a block for each value of KEY (optimizer, version ...), judged by itself"
    )
    parser.add_argument("--sort", metavar="[-]COLUMN", help="rows by a column, `delta` or `config`; - largest first")
    parser.add_argument(
        "--target", type=_target, metavar="E", help="epochs and seconds until the validation error is below E %%"
    )
    parser.add_argument("--title", metavar="TEXT", help="over the table; in LaTeX its caption")
    return parser


def _target(text: str) -> float:
    value = number(text)
    if value is None or not 0 < value <= 100:
        raise UserError(f"--target={shown(text)} must be a validation error in percent, above 0 and at most 100")
    return value


def _margin(text: str) -> float:
    value = number(text)
    if value is None or not 0 < value < math.inf:
        raise UserError(f"--margin={text} must be a number above 0, in the unit of the judged column")
    return value


def named(words: Sequence[str]) -> str | None:
    """The first word that is no KEY=VALUE."""
    return next((word for word in words if "=" not in word), None)


def planned(
    name: str, words: Sequence[str], rows: Sequence[str], folders: Sequence[str], study: Study | None = None
) -> Plan:
    """The plan that the arguments of a command describe: of the study of that name, or of one made by the command."""
    from dlreg.study.file import find  # torch comes with it
    from dlreg.study.plan import Request, plan

    if strangers := [word for word in words if "=" not in word and word != name]:
        raise UserError(f"{strangers[0]}: one study at a time, and KEY=VALUE")
    guard.once([word for word in words if "=" in word])
    own = dict(word.split("=", 1) for word in words if word.startswith(("budget=", "seeds=")))
    changes = [word for word in words if "=" in word and not word.startswith(("budget=", "seeds="))]
    if any(word.startswith("seed=") for word in changes):
        raise UserError("seed: a study runs several; give seeds=5 or seeds=0,1,2")
    extra = [_row(text) for text in rows]
    seeds = _seeds(own["seeds"]) if "seeds" in own else None
    path = find(name, folders) if study is None else Path(name)
    return plan(Request(path, own.get("budget", "smoke"), seeds, changes, extra, folders, study))


def _seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.strip("[]").split(",")]
    except ValueError:
        found = []
    if "," not in text and "[" not in text and found and found[0] > 0:
        return list(range(found[0]))
    if not found or min(found) < 0 or len(set(found)) < len(found) or ("," not in text and "[" not in text):
        raise UserError(f"seeds={text} must be how many (5) or which (0,1,2)")
    return found


def _row(text: str) -> StudyRow:
    from dlreg.study.file import StudyRow

    label, colon, words = text.partition(":")
    if not colon or not label.strip() or any("=" not in word for word in words.split()):
        raise UserError(f"--row {text!r} must be 'LABEL: KEY=VALUE KEY=VALUE'")
    guard.once(words.split())
    return StudyRow(label=label.strip(), overrides=words.split())
