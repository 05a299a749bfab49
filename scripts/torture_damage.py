"""Bits flipped and ends cut off in every file that runs leave: named, left out, and made again by the same command."""

from __future__ import annotations

import contextlib
import functools
import io
from pathlib import Path
from typing import Any

from torture_runs import OUTPUTS, SMALL, Silent, fork, left, train, undisturbed
from torture_trials import Trials

from dlreg import durable
from dlreg.cli import main
from dlreg.config.compose import compose
from dlreg.run.experiment import Experiment
from dlreg.run.predictions import predictions
from dlreg.run.result import read_all
from dlreg.study.file import state

EPOCHS = 3
RUN = (f"epochs={EPOCHS}",)
AGAIN = 150  # of so many damages one is shown to `table` and made again: half a second, and the others a millisecond
NOTE = "optimizers", "smoke"


def damage(trials: Trials, scale: float) -> None:
    """10,000 flipped bits and 500 cuts: in a finished run, in one that was cut short, and in the note of a plan."""
    expected = undisturbed(*RUN)
    _note(_experiment())
    damages = [True] * round(500 * scale) + [False] * round(10_000 * scale)
    for end, look in ((EPOCHS, _finished), (EPOCHS - 1, _unfinished)):
        if end < EPOCHS:
            _cut_short(end)
        whole = {
            path: path.read_bytes()
            for path in sorted(OUTPUTS.rglob("*"))
            if path.is_file() and path.stat().st_size and not path.name.startswith(".claim-")  # no part of a result
        }
        for i, cut in enumerate(damages[::2] if end == EPOCHS else damages[1::2]):
            path = list(whole)[i % len(whole)]
            path.write_bytes(_cut(trials, whole[path]) if cut else _flipped(trials, whole[path]))
            of = f"{path.name}, {'cut' if cut else 'a bit'}, {end} epochs, damage {i}"
            trials.ended[path.name] += 1
            try:
                found = look(path, expected)
                found += _again(path, expected, end) if i % AGAIN < len(whole) else []
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            for fault in found:
                trials.fault(fault, of)
            _restore(whole)


def _finished(path: Path, expected: dict[str, Any]) -> list[str]:
    """What is wrong with how a finished run with this damaged file is read."""
    if path.suffix == ".json" and path.parent.name == ".studies":
        return ["the plan is told as if whole"] if state(*NOTE, OUTPUTS) else []
    results, unreadable = read_all([OUTPUTS])
    if path.name == "result.json":
        return [] if not results and path.name in unreadable[0].why else ["the result is read"]
    if path.name == "config.json":  # nobody reads it: the result has its own
        return []
    faults = [] if _experiment().finished() is None else ["done already"]
    if path.name == "predictions.npz" and predictions(results[0]) is not None:
        faults.append("the predictions are read")
    return faults + ([] if len(results) == 1 and not unreadable else ["the result is not read"])


def _unfinished(path: Path, expected: dict[str, Any]) -> list[str]:
    """The same of a run that was cut short."""
    results, unreadable = read_all([OUTPUTS])
    if path.name == "config.json":
        return [] if not results and path.name in unreadable[0].why else ["the config is read"]
    faults = [] if [r.status for r in results] == ["interrupted"] else [f"{results}"]
    return faults + (
        ["the checkpoint is read"] if "checkpoint" in path.name and durable.intact(path) is not None else []
    )


def _again(path: Path, expected: dict[str, Any], end: int) -> list[str]:
    """`table` names the file, and the same command makes all of it again."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(["table"])
    named = path.name in said.getvalue() or path.name.startswith("checkpoint") or path.parent.name == ".studies"
    named |= path.name == "config.json" and end == EPOCHS
    faults = [] if named and status in (0, 2) else [f"table: status {status}, {said.getvalue()}"]
    status, told = fork(lambda: train(*RUN)).ended()
    if status or "Traceback" in told:
        faults.append(f"status {status}: {told}")
    found = left()
    names = [n for n in expected if found.get(n) != expected[n] and not n.endswith(("config.json", "result.json"))]
    kept = [(of[name]["test"], of[name]["config"]) for of in (found, expected) for name in of if "result" in name]
    return faults + ([f"other {names}"] if names or kept[0] != kept[1] else [])


def _note(experiment: Experiment) -> None:
    """As `dlreg study` leaves it."""
    (OUTPUTS / ".studies").mkdir()
    content = {"runs": [experiment.run_id], "unknown": 0}
    durable.write_json(OUTPUTS / ".studies" / f"{'-'.join(NOTE)}.json", content)


@functools.cache
def _experiment() -> Experiment:
    return Experiment.of(compose([*SMALL, *RUN]))


class _Cut(Silent):
    """Ends the run once so many epochs are saved."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def epoch(self, row: dict[str, Any]) -> None:
        """As Ctrl-C does."""
        if row["epoch"] == self.epochs:
            raise KeyboardInterrupt


def _cut_short(epochs: int) -> None:
    experiment = _experiment()
    for path in experiment.folder.iterdir():
        path.unlink()
    with contextlib.suppress(KeyboardInterrupt):
        experiment.run(_Cut(epochs))
    (experiment.folder / "result.json").unlink()  # as a kill leaves it


def _flipped(trials: Trials, content: bytes) -> bytes:
    at = trials.chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << trials.chance.randrange(8)]) + content[at + 1 :]


def _cut(trials: Trials, content: bytes) -> bytes:
    return content[: trials.chance.randrange(len(content))]


def _restore(whole: dict[Path, bytes]) -> None:
    for path in OUTPUTS.rglob("*"):
        if path.is_file() and path not in whole and not path.name.startswith(".claim-"):
            path.unlink()
    for path, content in whole.items():
        path.write_bytes(content)
