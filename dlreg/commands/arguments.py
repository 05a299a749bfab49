"""What several commands understand: a study and its words, and which runs are compared."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from dlreg.commands.words import margin
from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.label import number
from dlreg.report.metrics import METRICS

SIGNED = ("--sort",)  # flags whose value may begin with a minus sign
WORDS = """NAME               a study of `dlreg study`, or a YAML file of your own
budget=smoke       smoke (seconds) | laptop | paper (the original recipe)
seeds=5            how many, or which: seeds=0,1,2; or seeds=auto: more until each row is settled
max_seeds=20       with seeds=auto: how many at most
trials=20          of every row that tunes an interval; search=sobol|random|tpe, tune_seeds=1000, prune=true
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

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As inherited, in the words of every option that has some."""
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(value, action.choices)
            allowed = ", ".join(map(str, action.choices))
            raise UserError(f"{action.option_strings[0]}={shown(value)} is not one.{hint} Allowed: {allowed}.")

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
