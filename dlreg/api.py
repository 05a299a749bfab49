"""dlreg in Python: the functions that the commands call, under the commands' words. `import dlreg` finds them here.

Overrides are words as on the command line, and so are mistakes, raised as `dlreg.errors.UserError`. Neither
torch's threads and random numbers nor a display stay behind in the process; the memory that a run has freed does, as it
is kept for the next (`dlreg.run.allocator`).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from dlreg.report.table import Kind, Table
    from dlreg.run.result import Result, Select


@dataclass(frozen=True)
class Shown:
    """A table: a notebook renders it; `table` holds every number, test and remark."""

    table: Table

    def to_frame(self) -> pd.DataFrame:
        """One row for each of the table's, one column for each number."""
        from dlreg.report.data import frame

        return frame(self.table)

    def to_latex(self) -> str:
        """As `dlreg table --format latex` prints it."""
        from dlreg.report.render import render

        return str(render(self.table, "latex"))

    def to_html(self) -> str:
        """The page of `dlreg table --format html`."""
        from dlreg.report.render import render

        return str(render(self.table, "html"))

    def _repr_html_(self) -> str:
        from dlreg.report.html import fragment

        return fragment(self.table)

    def __repr__(self) -> str:
        from dlreg.report.render import render

        return str(render(self.table, "md"))


def train(*overrides: str, config_dir: str | Path | None = None) -> Result:
    """`dlreg train OVERRIDES`: one run, or its result if it is there; what became of it is in `status`, where in `folder`.

    Raises:
        UserError: bad input, or another process runs this very experiment; nothing was run.
    """
    from dlreg.commands.train import attempt
    from dlreg.config.compose import compose

    with _undisturbed():
        result, experiment, _ = attempt(compose(overrides, _folders(config_dir)))
    result.folder = experiment.folder
    return result


def sweep(*overrides: str, jobs: int = 1, config_dir: str | Path | None = None) -> Shown:
    """`dlreg train -m OVERRIDES`: the grid over comma-separated values, what is missing of it, and its table.

    Raises:
        UserError: one cell is bad; nothing was run.
    """
    from dlreg.commands.train import cells_of
    from dlreg.commands.where import executor
    from dlreg.report.judge import arranged, compare
    from dlreg.study.cells import run_cells

    folders = _folders(config_dir)
    where, words = executor(overrides, Namespace(jobs=jobs), folders)
    with _undisturbed():
        cells = cells_of(words, folders)
        run_cells(cells, where)
    return Shown(arranged(compare([cell.experiment.result() for cell in cells])))


def run_study(name: str, *words: str, jobs: int = 1, config_dir: str | Path | None = None) -> Shown:
    """`dlreg study NAME WORDS`: run what is missing of a study, and its table. (`dlreg.study` is the package.)

    Raises:
        UserError: there is no such study, or its rows do not compose; nothing was run.
    """
    from dlreg.commands.where import executor
    from dlreg.commands.words import planned
    from dlreg.study import execute
    from dlreg.study.tabulate import table

    folders = _folders(config_dir)
    where, others = executor(words, Namespace(jobs=jobs), folders)
    asked = Namespace(words=[name, *others], row=[], margin=None)
    with _undisturbed():
        return Shown(table(execute.run(planned(name, asked, folders), where)))


def table(*words: str | Path, config_dir: str | Path | None = None, **options: Any) -> Shown:
    """`dlreg table WORDS`: compare the runs in folders [outputs], or a study as far as it was run.

    Options are the command's: `baseline="reg=none"`, `columns=["test_error", "nll"]`, `margin=0.2`, `population="images"` ...
    """
    from dlreg.commands.arguments import comparison_parser
    from dlreg.commands.table import collect

    argv = [word for name, value in options.items() for word in _flag(name, value)]
    given = comparison_parser("table", "").parse_intermixed_args([*map(str, words), *argv])
    return Shown(collect(given, _folders(config_dir)))


def plot(shown: Shown | str | Path, kind: Kind | None = None) -> Figure:
    """`dlreg plot --kind KIND`: curves, dots, sweep ... of a table or of the runs that `dlreg.table` would compare."""
    from dlreg.report.plot import figure

    return figure((shown if isinstance(shown, Shown) else table(shown)).table, kind)


def runs(*folders: str | Path, epochs: bool = False) -> pd.DataFrame:
    """Every run in or below folders [outputs] as a row: what it was, how it ended, its numbers as tables print them.

    With `epochs` every epoch of every run is a row. Errors are in percent.
    """
    from dlreg.report.frames import epochs_frame, runs_frame
    from dlreg.run.result import read_all

    results, _ = read_all([Path(folder) for folder in folders or ("outputs",)])
    return epochs_frame(results) if epochs else runs_frame(results)


def load(run: str | Path, select: Select = "last", *, root: str | None = None) -> nn.Module:
    """The model of a finished run in evaluation mode: inputs `(N, ...)` in [0, 1] (features as they are) -> logits `(N, K)`.

    `run` is its folder, or its name in `outputs`; `select` is `last`, the weights after the last epoch, or `best_val`, those
    of the epoch with the lowest validation error; `root` is where the run's data lie if they were moved.

    Raises:
        UserError: there is no such run, it is not done, it kept no weights, or its data are not there.
    """
    from dlreg.run.reopen import reopen

    return reopen(run, select, root).model


def _folders(config_dir: str | Path | None) -> list[str]:
    from dlreg.config.options import user_config_dirs

    return user_config_dirs([] if config_dir is None else ["--config-dir", str(config_dir)])[0]


def _flag(name: str, value: Any) -> Sequence[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is None or isinstance(value, bool):
        return [flag] if value else []
    return [f"{flag}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave torch's threads and its global random numbers as they are found."""
    import torch

    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
