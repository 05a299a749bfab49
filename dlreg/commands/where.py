"""What the flags and words of a command say of where its runs go: --jobs, --per-gpu, --per-job, hydra/launcher=."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dlreg.errors import UserError, shown
from dlreg.study import workers

if TYPE_CHECKING:
    from dlreg.study.executor import Executor

MOST = 10_000
FLAGS = {
    "--jobs": "processes (a run has one thread, unless threads=N); runs on GPUs take them in turn",
    "--per-gpu": "with or without --jobs: so many of the processes share a GPU at most",
    "--per-job": "with hydra/launcher=: so many runs share a job, one after the other",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that runs many."""
    parser.add_argument("--dry-run", action="store_true", help="print the runs and the estimated time, and run nothing")
    for flag, text in FLAGS.items():
        parser.add_argument(flag, type=lambda value, flag=flag: whole(flag, value), metavar="N", help=text)  # type: ignore[misc]


def whole(flag: str, text: str) -> int:
    """The number that a flag of `FLAGS` gives.

    Raises:
        UserError: it is not one.
    """
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UserError(f"{flag}={shown(text)} must be at least 1, and at most {MOST}")
    return int(text)


def executor(words: Sequence[str], given: argparse.Namespace, folders: Sequence[str]) -> tuple[Executor, list[str]]:
    """Where the runs go, and the words that say what they are.

    Raises:
        UserError: there is no such launcher, or what is said goes not together.
    """
    jobs, per_gpu, per_job = (getattr(given, name, None) for name in ("jobs", "per_gpu", "per_job"))
    chosen = [word for word in words if word.lstrip("+").startswith(("hydra/launcher=", "hydra.launcher."))]
    others = [word for word in words if word not in chosen]
    if "hydra/launcher=basic" in chosen:  # this process, as without it
        chosen = []
    if (chosen and (jobs or 1) > 1) or (chosen and per_gpu):
        raise UserError(
            f"{chosen[0]} and --{'jobs' if jobs else 'per-gpu'}: give one of them; a launcher has its own (n_jobs)"
        )
    if per_job and not chosen:
        raise UserError(f"--per-job={per_job} goes with a launcher: hydra/launcher=submitit_slurm")
    if (jobs or 1) > 1 and not getattr(given, "dry_run", False):
        workers.warm()
    from dlreg.study.executor import Executor, slots  # torch comes with it
    from dlreg.study.launcher import Launched

    if per_gpu:
        slots(1, per_gpu, ["cuda"])
    launched = Launched(tuple(chosen), per_job or 1, tuple(folders)) if chosen else None
    if launched:
        launched.check()
    return Executor(jobs or 1, per_gpu, launched), others
