"""Whose run it is: one process at a time, also where processes of several machines share a folder, without file locks.

A claim is two files in the run's folder. `.claim-N`, created exclusively, says who came N-th (the owner's token, machine and
process); the highest N counts, and numbers only rise. `.held-TOKEN` is the owner's fence: while it is there the claim
holds, its time of change is the heartbeat, and the result is written into it and renamed to `result.json`. So whoever
removes the fence of an owner that is gone also takes from it, in one step, the right to write a result: should it
wake up again, its rename fails.

An owner on this machine is gone when its process is. One on another machine is gone when its heartbeat stood still for
`STALE` seconds of the watcher's own clock: the clocks of two machines are never compared. O_EXCL, unlink and rename are
atomic on NFS (version 3 and later); file locks there are not to be relied upon.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dlreg import durable
from dlreg.errors import UserError

BEAT = 10.0  # seconds between two signs of life
STALE = (
    90.0  # seconds without one after which an owner on another machine is gone; a time of change may be 60 s old on NFS
)
POLL = 1.0  # seconds between two looks at a claim


class Busy(Exception):
    """Another process has this run in hand, or took it over."""


@dataclass(frozen=True)
class Owner:
    """Who came `number`-th. Without a token: the claim is being written at this moment, or its writer died over it."""

    number: int
    token: str = ""
    machine: str = ""
    pid: int = 0
    started: str = ""

    def fence(self, folder: Path) -> Path:
        """The file that is there while the claim holds; of a claim without a token the claim itself."""
        return folder / f".held-{self.token}" if self.token else folder / f".claim-{self.number}"

    def died(self) -> bool:
        """Whether it was a process of this machine that is no more."""
        if not self.token or self.machine != _machine():
            return False
        now = _started(self.pid)
        return now == "gone" or ("" not in (now, self.started) and now != self.started)


class Claim:
    """A run folder that is this process's own until the block is left or the result is published."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.over = folder, threading.Event()

    def __enter__(self) -> Claim:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.owner = self._take()
        except OSError as error:
            raise UserError(f"outputs={self.folder.parent} cannot be written: {error.strerror or error}") from None
        self.fence = self.owner.fence(self.folder)
        threading.Thread(target=self._beat, name="dlreg-claim", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.fence.unlink(missing_ok=True)

    def check(self) -> None:
        """Raise Busy if another process took the run over because this one seemed to be gone."""
        if not self.fence.exists():
            raise Busy(f"{self.folder} was taken over by another process")

    def publish(self, content: bytes) -> None:
        """Make `content` the run's result, unless the run was taken over; ends the claim.

        Raises:
            Busy: it was taken over; nothing was written. OSError: it cannot be written.
        """
        try:
            durable.fill(self.fence, content, self.folder / "result.json")
        except FileNotFoundError:
            raise Busy(f"{self.folder} was taken over by another process") from None

    def _take(self) -> Owner:
        before = refuse_held(self.folder)
        number = before.number + 1 if before else 1
        mine = Owner(number, uuid.uuid4().hex, _machine(), os.getpid(), _started(os.getpid()))
        fence, claim = mine.fence(self.folder), self.folder / f".claim-{number}"
        fence.touch(exist_ok=False)
        try:
            with open(claim, "x") as file:
                json.dump([mine.token, mine.machine, mine.pid, mine.started], file)
        except FileExistsError:
            pass  # somebody was faster
        except OSError:  # made and not written: a full disk
            claim.unlink(missing_ok=True)
            fence.unlink(missing_ok=True)
            raise
        if last(self.folder) != mine:
            fence.unlink(missing_ok=True)
            raise Busy(f"{self.folder} is in use: another process runs this very experiment")
        for old in self.folder.glob(".claim-*"):
            if old != claim:
                old.unlink(missing_ok=True)
        self._clear_fences(fence)
        return mine

    def _clear_fences(self, mine: Path) -> None:
        """Remove what a kill left between fence and claim. Who made a fence before the last owner has lost already."""
        for other in self.folder.glob(".held-*"):
            with suppress(FileNotFoundError):
                if other.stat().st_mtime_ns < mine.stat().st_mtime_ns:
                    other.unlink()

    def _beat(self) -> None:
        while not self.over.wait(BEAT):
            with suppress(OSError):  # a file server that does not answer, or taken over: `check` tells
                os.utime(self.fence)


class Watch:
    """What is known of runs that others have in hand: how long each heartbeat stood still, by this process's clock."""

    def __init__(self) -> None:
        self.seen: dict[Path, tuple[Owner, int, float]] = {}  # whose, heartbeat, since when

    def free(self, folder: Path) -> bool:
        """Whether nobody has the run in hand; an owner that is gone is expelled."""
        owner = last(folder)
        if owner is None or (sign := _heartbeat(owner.fence(folder))) is None:
            return True
        now, before = time.monotonic(), self.seen.get(folder)
        if before is None or before[:2] != (owner, sign):
            before = owner, sign, now
            self.seen[folder] = before
        if not owner.died() and now - before[2] < STALE:
            return False
        expel(folder, owner)
        return True


def refuse_held(folder: Path) -> Owner | None:
    """Who had the run last. An owner that this machine knows to be dead is expelled.

    Raises:
        Busy: another process has it in hand.
    """
    owner = last(folder)
    if owner and owner.fence(folder).exists():
        if not owner.died():
            raise Busy(f"{folder} is in use: another process runs this very experiment")
        expel(folder, owner)
    return owner


def in_hand(folder: Path) -> bool:
    """Whether a process has it now, as far as can be known at once: of another machine's owner its fence."""
    owner = last(folder)
    return owner is not None and owner.fence(folder).exists() and not owner.died()


def abandoned(folder: Path) -> bool:
    """Whether the owner shows no sign of life. One on this machine does so at once, of another one is awaited."""
    watch, first = Watch(), None
    while not watch.free(folder):
        owner, sign, _ = watch.seen[folder]
        first = first or (owner, sign)
        if owner.machine == _machine() or (owner, sign) != first:
            return False
        time.sleep(POLL)
    return True


def expel(folder: Path, owner: Owner) -> None:
    """End the claim of an owner that is gone. It concerns this owner alone, however late it comes."""
    owner.fence(folder).unlink(missing_ok=True)


def last(folder: Path) -> Owner | None:
    """Who came last, in hand or not."""
    numbers = [int(path.name[7:]) for path in folder.glob(".claim-*") if path.name[7:].isdecimal()]
    if not numbers:
        return None
    try:
        token, machine, pid, started = json.loads((folder / f".claim-{max(numbers)}").read_bytes())
        return Owner(max(numbers), str(token), str(machine), int(pid), str(started))
    except (OSError, ValueError, TypeError):
        return Owner(max(numbers))


def _heartbeat(fence: Path) -> int | None:
    """The time of the last sign of life, in whatever clock set it; None without a fence."""
    try:
        with open(fence, "rb") as file:  # opening makes NFS ask the server
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


def _machine() -> str:
    """This boot of this machine, and its numbering of processes (a container has its own)."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When a process of this machine began, which tells it from a later one of its number; `gone`, or empty: not known."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "gone" if state in "ZX" else rest[18]
    except OSError:  # no such process, no /proc, or one that hides other people's processes
        pass
    try:
        if os.name != "nt":  # where signal 0 would end it
            os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return ""
