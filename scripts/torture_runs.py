"""What the sections that break runs share: small real runs in forks of this warm process, and what they must have left."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torture_trials import Trials

from dlreg import durable
from dlreg.cli import main
from dlreg.run import fitter
from dlreg.run.claim import Claim
from dlreg.run.fitter import CheckpointFile
from dlreg.run.result import FINAL, read, read_all

OUTPUTS = Path("outputs")
SMALL = (
    "optimizer=adam", "reg=dropout", "model.hidden=[16]", "data.train_size=128", "batch_size=64",
    "device=cpu", "threads=1", "progress=false",
)  # fmt: skip
CLOCKS = ("seconds", "images_per_second")
TRACEBACK = 70  # exit status of a fork that ended with one
_LEDGER = Path("ledger")
fitter.SPACING = 0.0  # each epoch is kept, so that each that is lost is noticed


@dataclass(frozen=True)
class Child:
    """A fork of this process, and what it prints."""

    pid: int
    said: int

    def ended(self) -> tuple[int, str]:
        """Wait for it: its exit status (negative: the signal that ended it), and what it said."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with open(self.said, errors="replace") as file:
            return status, file.read()


class Silent:
    """A report that nobody reads."""

    def step(self, done: float, loss: float) -> None:
        """Nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Nothing."""


def fork(job: Callable[[], int]) -> Child:
    """Start `job` in a fork: torch is loaded already, so that it costs milliseconds. What it returns is its status."""
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        return Child(pid, reader)
    try:
        sys.stdout = sys.stderr = os.fdopen(writer, "w", buffering=1)
        status = job()
        sys.stdout.flush()
        os._exit(status)
    except BaseException:
        os.write(writer, traceback.format_exc().encode())
        os._exit(TRACEBACK)


def train(*words: str) -> int:
    """`dlreg train` with these words, entering in the ledger what it keeps."""
    with entered():
        return main(["train", *SMALL, *words])


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """While this lasts, each epoch that is saved and each result that is written is a line of the ledger."""
    save, publish = CheckpointFile.save, Claim.publish

    def saving(self: CheckpointFile, state: dict[str, Any]) -> None:
        save(self, state)
        _enter(f"epoch {len(state['history'])} {self.path}")

    def publishing(self: Claim, content: bytes) -> None:
        publish(self, content)
        _enter(f"{json.loads(content)['status']} {self.folder}")

    CheckpointFile.save, Claim.publish = saving, publishing  # type: ignore[method-assign]
    try:
        yield
    finally:
        CheckpointFile.save, Claim.publish = save, publish  # type: ignore[method-assign]


def _enter(line: str) -> None:
    """One write at the end of the file: lines of several processes do not mix."""
    with open(_LEDGER, "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def ledger() -> Counter[str]:
    """How often each thing was kept."""
    return Counter(_LEDGER.read_text().splitlines() if _LEDGER.exists() else ())


def twice() -> list[str]:
    """What was kept more than once though the first time should have lasted: an epoch, a finished run."""
    return [line for line, n in ledger().items() if n > 1 and not line.startswith(("failed", "interrupted"))]


def lost() -> list[str]:
    """Epochs that were saved and are gone, though their run has no final result yet."""
    newest: dict[Path, int] = {}
    for line in ledger():
        if line.startswith("epoch "):
            _, epoch, path = line.split(" ", 2)
            newest[Path(path)] = max(newest.get(Path(path), 0), int(epoch))
    return [f"{epoch} of {path}" for path, epoch in newest.items() if not _final(path.parent) and _epochs(path) < epoch]


def _final(folder: Path) -> bool:
    result = read(folder)
    return result is not None and result.status in FINAL


def _epochs(checkpoint: Path) -> int:
    """Of the newest of the two files that is intact."""
    for path in (checkpoint, durable.previous(checkpoint)):
        if (content := durable.intact(path)) is not None:
            return len(torch.load(io.BytesIO(content), weights_only=True)["fit"]["history"])
    return 0


def same_in_the_end(trials: Trials, words: Sequence[str], expected: dict[str, Any], of: str) -> None:
    """What is there can be read; the same command goes on from what was saved, and ends with the bits of a whole run."""
    _, unreadable = read_all([OUTPUTS] if OUTPUTS.exists() else [])
    gone = lost()
    status, said = fork(lambda: train(*words)).ended()
    if status or unreadable or gone:
        trials.fault(f"status {status}, unreadable {unreadable}, lost {gone}", f"{of}: {said}")
    if (found := left()) != expected:
        differing = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
        trials.fault(f"other {differing}", of)
    if again := twice():
        trials.fault(f"done twice {again}", of)


def fresh() -> None:
    """Nothing was run yet."""
    shutil.rmtree(OUTPUTS, ignore_errors=True)
    _LEDGER.unlink(missing_ok=True)


def left(top: Path = OUTPUTS) -> dict[str, Any]:
    """Every file below `top` that matters: bytes, and results without clocks and the count of looks at the test set."""
    found: dict[str, Any] = {}
    for path in sorted(top.glob("*/*")):
        if path.name == "result.json":
            found[str(path.relative_to(top))] = _timeless(json.loads(path.read_bytes()))
        elif path.name != "traceback.txt" and not path.name.startswith(".claim-"):
            found[str(path.relative_to(top))] = path.read_bytes()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in (*CLOCKS, "seal", "test_reads")}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def undisturbed(*words: str) -> dict[str, Any]:
    """What `dlreg train` with these words leaves when nothing happens. In this process: forks then find all loaded."""
    fresh()
    torch.set_num_threads(1)  # a fork has no threads of its parent's
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        train(*words)
    return left()
