"""What a person sees while runs go on: bars on a terminal, plain lines elsewhere. Results go to stdout, the rest to stderr."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dlreg.errors import printable


class _Plain(Console):
    """A console on which no name, title or message can move the cursor or colour what follows."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


out = _Plain(highlight=False, soft_wrap=True)
if not out.is_terminal:  # a file or a pipe has no width to fit into
    out.width = 200
err = _Plain(stderr=True, highlight=False, soft_wrap=True)
LINE_EVERY = 2.0  # seconds between two plain lines of a run that has no terminal


def percent(fraction: float | None) -> str:
    """`3.21 %`, or a dash for no number."""
    return "—" if fraction is None else f"{100 * fraction:.2f} %"


def told(numbers: Mapping[str, Any], prefix: str = "") -> str:
    """The error of metrics, or with `prefix="val_"` of a row of the history: in percent; of values the mean squared error."""
    if f"{prefix}mse" not in numbers:
        return percent(numbers[f"{prefix}error"])
    found = numbers[f"{prefix}mse"]
    return "—" if found is None else f"{found:.4g}"


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[], None]]:
    """On a terminal a bar over work in so many parts, which moves with every call of what is given; elsewhere nothing."""
    if not err.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(compact=True), console=err, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda: progress.advance(task)


class Live:
    """The display of one process: at most one bar for the sweep and one for the run in hand."""

    def __init__(self, bars: bool) -> None:
        self.progress: Progress | None = None
        if bars and err.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[note]}"))
            self.progress = Progress(*columns, TimeRemainingColumn(compact=True), console=err, transient=True)
        self.lines = bars  # without bars nothing is told of a run that goes on
        self.in_sweep = False
        self.shared: frozenset[str] = frozenset()  # overrides of every cell of the sweep: not worth repeating

    def label(self, overrides: Iterable[str]) -> str:
        """The overrides that tell one cell of a sweep from another."""
        return " ".join(word for word in overrides if word not in self.shared) or "run"

    @contextmanager
    def run(self, label: str, epochs: int) -> Iterator[RunReport]:
        """The display of one run."""
        task = self.progress.add_task(label, total=epochs, note="") if self.progress else None
        try:
            yield RunReport(self, task, epochs)
        finally:
            if self.progress and task is not None:
                self.progress.remove_task(task)

    @contextmanager
    def sweep(self, total: int, standing: Callable[[], tuple[int, str]]) -> Iterator[None]:
        """A bar over the runs of a sweep. `standing` looks into their folders: it works for every launcher."""
        self.in_sweep = True
        if self.progress is None:
            yield
            return
        task, stop = self.progress.add_task("sweep", total=total, note=""), threading.Event()

        def watch() -> None:
            while not stop.wait(0.3):
                done, note = standing()
                self.progress.update(task, completed=done, note=note)  # type: ignore[union-attr]

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.progress.remove_task(task)

    def __enter__(self) -> Live:
        if self.progress:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress:
            self.progress.stop()


class RunReport:
    """`dlreg.run.loop.Report` for people."""

    def __init__(self, live: Live, task: Any, epochs: int) -> None:
        self.live, self.task, self.epochs = live, task, epochs
        self.note, self.last_line = "", time.monotonic()

    def step(self, done: float, loss: float) -> None:
        """Move the bar."""
        if self.live.progress:
            note = self.note or f"loss {loss:.3f}"
            self.live.progress.update(self.task, completed=done, note=note)

    def epoch(self, row: dict[str, Any]) -> None:
        """Move the bar; without one, print a line now and then."""
        self.note = (
            f"epoch {row['epoch']}/{self.epochs}  train {told(row, 'train_')}  val {told(row, 'val_')}  "
            f"{row['images_per_second']:,.0f} images/s"
        )
        if self.live.progress:
            self.live.progress.update(self.task, completed=row["epoch"], note=self.note)
        elif (
            self.live.lines
            and not self.live.in_sweep
            and (row["epoch"] in (1, self.epochs) or time.monotonic() - self.last_line > LINE_EVERY)
        ):
            self.last_line = time.monotonic()
            err.print(self.note)


live: Live | None = None  # the display of the sweep in hand, if there is one in this process
