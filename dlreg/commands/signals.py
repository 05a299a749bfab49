"""What SIGTERM and SIGHUP do to a command that runs something."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dlreg.errors import Interrupted


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless `nohup` has it ignored, end the run as Ctrl-C does: cleanly, and resumable."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum)

    asked = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # no SIGHUP on Windows
    before = {s: signal.signal(s, stop) for s in asked if signal.getsignal(s) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
