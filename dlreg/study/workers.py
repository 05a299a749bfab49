"""Worker processes: runs side by side, each forked from a clean server that has torch loaded already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, forkserver
from typing import Any


def warm() -> None:
    """Let the server load dlreg and torch now, while this process does the same: workers then start in no time."""
    if (context := _context()).get_start_method() == "forkserver":
        context.set_forkserver_preload(["dlreg.study.execute"])
        forkserver.ensure_running()


def run_all(job: Callable[[Any], Any], items: Sequence[Any], jobs: int) -> Iterator[tuple[Any, Any]]:
    """Each item with what `job(item)` returned, as they come. A worker that dies is a message in place of a result.

    Whatever ends this early (Ctrl-C, SIGTERM, an error) ends the workers as well.
    """
    size = min(jobs, max(1, len(items)))
    with ProcessPoolExecutor(size, mp_context=_context(), initializer=_begin) as pool:
        try:
            futures = {pool.submit(job, item): item for item in items}
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    yield futures[future], "a worker process died (out of memory?); the same command goes on"
        except BaseException:
            for process in multiprocessing.active_children():
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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


def _begin() -> None:
    """Ctrl-C reaches every process of the terminal; the one that hands out the work decides, and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _context() -> Any:
    """`forkserver`, where a worker inherits neither threads nor a GPU, or what the platform has instead."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method)
