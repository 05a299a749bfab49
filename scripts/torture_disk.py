"""A disk that fails: at the k-th call that touches it the process dies, or there is no room; then the same command again."""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
from collections.abc import Callable
from typing import Any

from torture_runs import TRACEBACK, fork, fresh, same_in_the_end, train, undisturbed
from torture_trials import Trials

from dlreg import durable

CALLS = ("open", "fsync", "replace", "rename", "unlink", "mkdir")
DIED = 99  # exit status of a process that died at a call
UNHARMED = 98  # exit status of one that ended before it came so far
RUN = ("epochs=2",)
SWEEP = ("-m", "seed=0,1", "epochs=1")


class Disk:
    """Counts the calls that touch the disk, and from the `at`-th on does `instead`; a write first writes its half."""

    def __init__(self, at: int, instead: Callable[[], None], *, lasting: bool = False) -> None:
        self.at, self.instead, self.lasting, self.calls = at, instead, lasting, 0

    def install(self) -> None:
        """For the rest of this process, which is a fork."""
        for name in CALLS:
            setattr(os, name, self._counted(getattr(os, name)))
        durable.open = self._open  # type: ignore[attr-defined]

    def touched(self) -> None:
        """One call more."""
        self.calls += 1
        if self.calls == self.at or (self.lasting and self.calls > self.at):
            self.instead()

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.touched()
            return function(*args, **named)

        return call

    def _open(self, path: Any, mode: str) -> Any:
        if mode not in ("wb", "r+b"):
            return builtins.open(path, mode)
        self.touched()
        return _Torn(path, mode, self)


class _Torn(io.FileIO):
    def __init__(self, path: Any, mode: str, disk: Disk) -> None:
        super().__init__(path, mode)
        self.disk = disk

    def write(self, content: Any) -> int:
        half = super().write(content[: len(content) // 2])
        self.disk.touched()
        return half + super().write(content[half:])


def crashes(trials: Trials, scale: float) -> None:
    """The process dies at every call that touches the disk, of a run and of a sweep, and once more while it goes on."""
    stride = max(1, round(1 / scale))
    for words in (RUN, SWEEP):
        expected = undisturbed(*words)
        at, status = 1 + trials.chance.randrange(stride), DIED
        while status == DIED:
            fresh()
            status = _with_disk(trials, words, Disk(at, lambda: os._exit(DIED)))
            again = trials.chance.randint(1, 30)
            _with_disk(trials, words, Disk(again, lambda: os._exit(DIED)))
            same_in_the_end(trials, words, expected, f"died at call {at}, then {again} of {words}")
            at += stride


def full(trials: Trials, scale: float) -> None:
    """No room at every call that touches the disk, once or from then on, and for files beyond a size; then room again."""
    stride = max(1, round(1 / scale))
    for words in (RUN, SWEEP):
        expected = undisturbed(*words)
        point, status = trials.chance.randrange(stride), 0
        while status != UNHARMED:
            at, lasting = 1 + point // 2, bool(point % 2)
            fresh()
            status = _with_disk(trials, words, Disk(at, _no_room, lasting=lasting))
            same_in_the_end(trials, words, expected, f"no room at call {at} of {words}, lasting {lasting}")
            point += stride
        for _ in range(round(20 * scale)):
            fresh()
            limit = trials.chance.choice((0, 500, 1000, 4000, 9000, 12_000, 15_000))
            _count(trials, *fork(lambda limit=limit, words=words: _limited(limit, words)).ended())
            same_in_the_end(trials, words, expected, f"files of at most {limit} bytes, {words}")


def _no_room() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _limited(size: int, words: tuple[str, ...]) -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return train(*words)


def _with_disk(trials: Trials, words: tuple[str, ...], disk: Disk) -> int:
    """How `dlreg train` ended on this disk."""

    def job() -> int:
        disk.install()
        status = train(*words)
        return status if disk.calls >= disk.at else UNHARMED

    status, said = fork(job).ended()
    _count(trials, status, said)
    return status


def _count(trials: Trials, status: int, said: str) -> None:
    """A run that did not get what it needed is 1 (failed) or 2 (could not begin), each in a line."""
    names = {DIED: "died", UNHARMED: "unharmed", 0: "went on", 1: "failed", 2: "refused", TRACEBACK: "broken"}
    trials.ended[names.get(status, f"status {status}")] += 1
    told = [line for line in said.splitlines() if line.startswith("dlreg")]
    if status not in names or "Traceback" in said or len(told) != (status == 2):
        trials.fault(f"status {status}", said)
