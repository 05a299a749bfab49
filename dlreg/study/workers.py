"""Worker processes: runs side by side, each forked from a clean server that has torch loaded already."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
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
    with ProcessPoolExecutor(min(jobs, max(1, len(items))), mp_context=_context()) as pool:
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


def _context() -> Any:
    """`forkserver`, where a worker inherits neither threads nor a GPU, or what the platform has instead."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method)
