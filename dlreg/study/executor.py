"""Where the runs of a command go: here, into processes of this machine, or through any launcher of Hydra's."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dlreg import ui
from dlreg.errors import UserError
from dlreg.run.claim import Busy
from dlreg.run.threads import limit
from dlreg.study import workers
from dlreg.study.cells import Cell, Outcome
from dlreg.study.launcher import Launched


@dataclass(frozen=True)
class Executor:
    """`executor(cells)`: each cell with what became of it, as it comes. The default is this process, one after the other."""

    jobs: int = 1  # processes of this machine
    per_gpu: int | None = None  # how many of them share a GPU at most
    launched: Launched | None = None  # in place of both

    def __call__(self, todo: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
        """Run them all."""
        if self.launched:
            yield from self.launched(todo)
            return
        places = slots(self.jobs, self.per_gpu, [cell.experiment.settings.device for cell in todo])
        if len(places) > 1:
            threads = max(1, (os.cpu_count() or 1) // len(places))
            yield from workers.run_all(functools.partial(_in_worker, threads), todo, places)
            return
        assert ui.live is not None
        for cell in todo:
            with ui.live.run(ui.live.label(cell.overrides), cell.experiment.settings.epochs) as report:
                yield cell, _attempt(cell, report)


def slots(jobs: int, per_gpu: int | None, devices: Sequence[str]) -> list[dict[str, str]]:
    """The environment of each process. Those whose runs are on `cuda` take the visible GPUs in turn.

    Raises:
        UserError: `per_gpu` without a GPU.
    """
    gpus = visible_gpus(os.environ, torch.cuda.device_count()) if set(devices) == {"cuda"} else []
    if per_gpu and not gpus:
        raise UserError(
            f"--per-gpu={per_gpu} needs runs on device=cuda, and a GPU; here --jobs N says how many at once"
        )
    if per_gpu:
        most = per_gpu * len(gpus)
        jobs = min(jobs, most) if jobs > 1 else most
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(jobs)]


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """The names of the GPUs that this process may use: `CUDA_VISIBLE_DEVICES` as it says, else all `count`."""
    said = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (said or [str(i) for i in range(count)])[:count]


def _attempt(cell: Cell, report: Any) -> Outcome:
    try:
        return cell.run(report)
    except Busy as error:
        return error


def _in_worker(threads: int, cell: Cell) -> Outcome:
    """In a worker process, which has its part of the machine's cores unless `threads` of the run says otherwise."""
    limit(threads)
    live = ui.Live(bars=False)
    live.in_sweep = True
    with live.run("", cell.experiment.settings.epochs) as report:
        return _attempt(cell, report)
