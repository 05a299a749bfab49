"""What several commands understand: a study and its words, and which runs are compared."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from dlreg.config import guard
from dlreg.errors import UserError, shown
from dlreg.report.metrics import METRICS

if TYPE_CHECKING:
    from dlreg.report.spending import Looks
    from dlreg.study.file import StudyRow
    from dlreg.study.plan import Plan

WORDS = """NAME               a study of `dlreg study`, or a YAML file of your own
budget=smoke       smoke (seconds) | laptop | paper (the original recipe)
seeds=5            how many, or which: seeds=0,1,2; or seeds=auto: more until each row is settled
max_seeds=20       with seeds=auto: how many at most
KEY=VALUE          any override of `dlreg train`, for every row"""


LEAST_LOOKED, MOST_LOOKED = 3, 1000  # seeds: fewer tell nothing about a row's spread


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
    parser.add_argument(
        "--margin", type=margin, metavar="M", help="a difference below M does not matter: rows can be equivalent"
    )
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
    return parser


def margin(text: str) -> float:
    """What `--margin` says.

    Raises:
        UserError: it is not a number above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise UserError(f"--margin={text} must be a number above 0, in the unit of the judged column")
    return value


def named(words: Sequence[str]) -> str | None:
    """The first word that is no KEY=VALUE."""
    return next((word for word in words if "=" not in word), None)


def planned(
    name: str, words: Sequence[str], rows: Sequence[str], folders: Sequence[str], margin: float | None = None
) -> Plan:
    """The plan that the arguments of a command describe."""
    from dlreg.study.file import find  # torch comes with it
    from dlreg.study.plan import Request, plan

    if strangers := [word for word in words if "=" not in word and word != name]:
        raise UserError(f"{strangers[0]}: one study at a time, and KEY=VALUE")
    guard.once([word for word in words if "=" in word])
    budget = next((word.split("=", 1)[1] for word in words if word.startswith("budget=")), "smoke")
    seeds, looks, changes = seeds_asked([word for word in words if "=" in word and not word.startswith("budget=")])
    if any(word.startswith("seed=") for word in changes):
        raise UserError("seed: a study runs several; give seeds=5 or seeds=0,1,2")
    extra = [_row(text) for text in rows]
    return plan(Request(find(name, folders), budget, seeds, changes, extra, folders, looks, margin))


def seeds_asked(words: Sequence[str]) -> tuple[list[int] | None, Looks | None, list[str]]:
    """`(seeds, looks, other words)`: what `seeds=` and `max_seeds=` say of the KEY=VALUE words; None where they say nothing.

    Raises:
        UserError: they say what cannot be, or `max_seeds` stands there without `seeds=auto`.
    """
    own = dict(word.split("=", 1) for word in words if word.startswith(("seeds=", "max_seeds=")))
    others = [word for word in words if not word.startswith(("seeds=", "max_seeds="))]
    most = own.get("max_seeds")
    if own.get("seeds") == "auto":
        from dlreg.report.spending import Looks  # scipy comes with it

        return None, Looks() if most is None else Looks(_max_seeds(most)), others
    if most is not None:
        raise UserError(f"max_seeds={shown(most)} goes with seeds=auto; a fixed number is seeds=5")
    return _seeds(own["seeds"]) if "seeds" in own else None, None, others


def _max_seeds(text: str) -> int:
    try:
        most = int(text)
    except ValueError:
        most = 0
    if not LEAST_LOOKED <= most <= MOST_LOOKED:
        raise UserError(f"max_seeds={shown(text)} must be a whole number from {LEAST_LOOKED} to {MOST_LOOKED}")
    return most


def _seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.strip("[]").split(",")]
    except ValueError:
        found = []
    if "," not in text and "[" not in text and found and found[0] > 0:
        return list(range(found[0]))
    if not found or min(found) < 0 or len(set(found)) < len(found) or ("," not in text and "[" not in text):
        raise UserError(f"seeds={text} must be how many (5), which (0,1,2), or auto")
    return found


def _row(text: str) -> StudyRow:
    from dlreg.study.file import StudyRow

    label, colon, words = text.partition(":")
    if not colon or not label.strip() or any("=" not in word for word in words.split()):
        raise UserError(f"--row {text!r} must be 'LABEL: KEY=VALUE KEY=VALUE'")
    guard.once(words.split())
    return StudyRow(label=label.strip(), overrides=words.split())
