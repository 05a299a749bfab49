"""32 processes on overlapping sweeps of one folder: every run done once, none failed, each with the bits of a run alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from torture_runs import OUTPUTS, Silent, entered, fork, fresh, ledger, left
from torture_trials import Trials

from dlreg.config.compose import compose
from dlreg.run.experiment import Experiment
from dlreg.run.result import read_all
from dlreg.study.cells import Cell, run_cells
from dlreg.study.executor import Executor

PROCESSES = 32
EACH = 100  # runs that a process has of its own; it wants those of its neighbour as well
ALONE = 10  # of so many runs one is compared with the same run alone
TINY = (
    "model.hidden=[]", "epochs=1", "data.train_size=64", "batch_size=64", "device=cpu", "threads=1", "progress=false",
)  # fmt: skip


def concurrency(trials: Trials, scale: float) -> None:
    """Of every two pairs one goes through its runs in the same order, and meets at each; the other in orders of its own."""
    fresh()
    each = max(1, round(EACH * scale))
    base = Experiment.of(compose([*TINY]))
    cells = [Cell((f"seed={seed}",), base.with_seed(seed)) for seed in range(PROCESSES * each)]
    cells[0].experiment.run(Silent())  # here, so that forks find everything loaded
    shutil.rmtree(OUTPUTS)
    children = []
    for process in range(PROCESSES):
        first = (process - process % 2) * each
        wanted = cells[first : first + 2 * each]
        if process % 4 < 2:
            trials.chance.shuffle(wanted)
        children.append(fork(lambda wanted=wanted: _sweep(wanted)))
    _read_until(trials, len(cells))
    for child in children:
        status, said = child.ended()
        if status or "Traceback" in said:
            trials.fault(f"status {status}", said)
    kept = ledger()
    for cell in cells:
        trials.ended["rows"] += 1
        if (times := kept[f"done {cell.experiment.folder}"]) != 1:
            trials.fault(f"done {times} times", cell)
    if others := {line.split()[0] for line in kept} - {"done", "epoch"}:
        trials.fault("also kept", others)
    _same_alone(trials, cells[::ALONE])


def _sweep(cells: Sequence[Cell]) -> int:
    with entered():
        run_cells(cells, Executor())
    return 0


def _read_until(trials: Trials, rows: int) -> None:
    """Read the folder as `table` does until all is there: nothing is unreadable, and no result goes away."""
    before, changed = 0, time.monotonic()
    while before < rows and time.monotonic() - changed < 300:
        results, unreadable = read_all([OUTPUTS] if OUTPUTS.exists() else [])
        done = sum(result.status == "done" for result in results)
        trials.ended["looks"] += 1
        if unreadable or done < before:
            trials.fault(f"{done} results after {before}", unreadable)
        if done > before:
            before, changed = done, time.monotonic()
        time.sleep(1)


def _same_alone(trials: Trials, cells: Sequence[Cell]) -> None:
    together = Path("together")
    OUTPUTS.rename(together)
    for cell in cells:
        cell.experiment.run(Silent())
        trials.ended["compared"] += 1
    found = left(together)
    for name, content in left(OUTPUTS).items():
        if found.get(name) != content:
            trials.fault("other than alone", name)
