"""Worker processes: runs side by side, each forked from a clean server that has torch loaded already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from typing import Any

DIED = "its process died (out of memory?); the same command goes on"


def warm() -> None:
    """Let the server load dlreg and torch now, while this process does the same: workers then start in no time."""
    if (context := _context()).get_start_method() == "forkserver":
        context.set_forkserver_preload(["dlreg.study.executor"])
        forkserver.ensure_running()


def own_environment() -> dict[str, str]:
    """What dlreg reads of the environment, plugins for one: a process that began earlier may not know it."""
    return {name: value for name, value in os.environ.items() if name.startswith("DLREG_")}


def run_all(
    job: Callable[[Any], Any], items: Sequence[Any], slots: Sequence[Mapping[str, str]]
) -> Iterator[tuple[Any, Any]]:
    """Each item with what `job(item)` returned, as they come; one worker per slot, which is its environment.

    A worker that dies costs the item that it had, which gets a message in place of a result; another takes its place.
    Whatever ends this early (Ctrl-C, SIGTERM, an error) ends the workers as well.
    """
    slots, left = [{**own_environment(), **slot} for slot in slots], list(reversed(items))
    workers = {worker.pipe: worker for worker in (_Worker.start(job, slot) for slot in slots[: len(items)])}
    try:
        for worker in workers.values():
            worker.give(left.pop())
        while busy := [pipe for pipe, worker in workers.items() if worker.item is not None]:
            for pipe in connection.wait(busy):
                worker = workers[pipe]
                item, found = worker.item, worker.answer()
                if found is DIED:
                    workers.pop(worker.pipe).end()
                    worker = _Worker.start(job, worker.slot) if left else worker
                if left:
                    workers[worker.pipe] = worker
                    worker.give(left.pop())
                yield item, found
    finally:
        for worker in workers.values():
            worker.end()


@dataclass
class _Worker:
    """One process, and the item that it has in hand."""

    process: Any
    pipe: Any
    job: Callable[[Any], Any]
    slot: Mapping[str, str]
    item: Any = None

    @classmethod
    def start(cls, job: Callable[[Any], Any], slot: Mapping[str, str]) -> _Worker:
        ours, theirs = _context().Pipe()
        process = _context().Process(target=_work, args=(theirs, job, slot), daemon=True)
        process.start()
        theirs.close()  # so that ours ends with the process
        return cls(process, ours, job, slot)

    def give(self, item: Any) -> None:
        """Let it work on the item."""
        self.item = item
        with suppress(OSError):  # it died meanwhile: the answer says so
            self.pipe.send(item)

    def answer(self) -> Any:
        """What it returned, `DIED` if it cannot any more; what the job raised is raised."""
        self.item = None
        try:
            returned, raised = self.pipe.recv()
        except (EOFError, OSError):
            return DIED
        if raised is not None:
            raise raised
        return returned

    def end(self) -> None:
        """Without waiting for what it has in hand."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()


def end_with_parent() -> None:
    """In a worker: end when the process that asked for the work is gone, however it went. What was saved is kept."""
    parent = multiprocessing.parent_process()
    if parent is not None and not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_watch, args=(parent,), name=_WATCH, daemon=True).start()


_WATCH = "dlreg-parent"


def _watch(parent: Any) -> None:
    if parent.sentinel is not None:  # a pipe that closes with its other end
        connection.wait([parent.sentinel])
    while parent.sentinel is None and os.getppid() == parent.pid:  # a worker of loky's: started by the parent itself
        time.sleep(0.5)
    os._exit(1)


def _work(pipe: Any, job: Callable[[Any], Any], slot: Mapping[str, str]) -> None:
    """Ctrl-C reaches every process of the terminal; the one that hands out the work decides, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    os.environ.update(slot)
    with suppress(EOFError):
        while True:
            item = pipe.recv()
            try:
                pipe.send((job(item), None))
            except Exception as error:
                pipe.send((None, error))


def _context() -> Any:
    """`forkserver`, where a worker inherits neither threads nor a GPU, or what the platform has instead."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method)
