"""`dlreg predict`: what the model of a finished run says of each sample, of its test set or of other data."""

from __future__ import annotations

from pathlib import Path

from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.commands.output import write
from dlreg.config.options import user_config_dirs
from dlreg.display import print_data
from dlreg.errors import UserError

DESCRIPTION = """What the model of a finished run predicts, as CSV: true and predicted classes with probabilities, or values.

  dlreg predict outputs/RUN -o predictions.csv                       its own test set
  dlreg predict RUN data.root=DIR                                    its data, which were moved
  dlreg predict RUN data=npz data.root=DIR data.file=mine.npz        the test part of other data of the same shape

A committee (bagging, ensemble, mc_dropout) predicts as it does in evaluation."""


def run(argv: list[str]) -> int:
    """Print or write the predictions; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = Parser("predict", DESCRIPTION)
    parser.add_argument("run", metavar="RUN", help="a run's folder, or its name in outputs")
    parser.add_argument("words", nargs="*", metavar="data.KEY=VALUE", help="other data: data=..., data.root=... ")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.csv", help="write there instead of printing")
    parser.add_argument("--select", choices=("last", "best_val"), default="last", help="which weights [last]")
    given = parser.parse_intermixed_args(rest)
    for word in given.words:
        if "=" not in word or word.partition("=")[0].split(".")[0] != "data":
            raise UserError(f"{word}: give data=NAME or data.KEY=VALUE; what else the run did is settled")
    from dlreg.report.predict import as_csv, predicted  # torch comes with it

    found = predicted(given.run, given.words, folders, given.select)
    text = as_csv(found)
    if given.output:
        write(given.output, (text + "\n").encode())
    else:
        print_data(text)
    metrics = found.metrics
    said = f"error {ui.percent(metrics['error'])}" if "error" in metrics else f"squared error {metrics['mse']:.4g}"
    if errors := [f"{name} {ui.percent(error)}" for name, error in found.attacked.items()]:
        said += f" ({', '.join(errors)} under attack)"
    ui.err.print(f"{said} of {metrics['samples']:,} samples ({given.select})")
    return 0
