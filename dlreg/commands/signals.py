"""What SIGTERM does to a command that runs something."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dlreg.errors import Interrupted


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: cleanly, and resumable."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
