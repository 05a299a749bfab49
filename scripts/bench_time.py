"""The clock of the benches."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long it takes, in seconds."""
    started = clock()
    work()
    return clock() - started
