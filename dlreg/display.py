"""The two streams that people read. Whether anybody can see them never decides over a run."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dlreg.errors import UserError

TYPE_CHECKING = False  # as typing's own, whose import would take a third of the time of `dlreg --help`
if TYPE_CHECKING:
    from typing import Any


class Display:
    """A text stream of which no write fails: what it has no letter for becomes `?`, what cannot be shown is dropped.

    `lost` is then the error: a command whose only product is its output must not end as if it had been delivered.
    """

    def __init__(self, stream: Any) -> None:
        self.lost = None if stream else OSError("it is closed")  # by the shell, `>&-`
        self._stream = stream or io.TextIOWrapper(io.BytesIO())

    def write(self, text: str) -> int:
        """Show it, if that can be."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self.write(text.encode(self._stream.encoding, "replace").decode(self._stream.encoding))
        except OSError as error:
            self._give_up(error)
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Data, in the same bytes as in a file, whatever letters the terminal has."""
        self.flush()
        try:
            self._stream.buffer.write(content)
        except OSError as error:
            self._give_up(error)
        self.flush()

    def flush(self) -> None:
        """Hand over what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _give_up(self, error: OSError) -> None:
        """What is left in the buffers, and what follows, goes nowhere; not even Python's own end then fails."""
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextmanager
def displayed() -> Iterator[None]:
    """While this lasts, the process's output and messages are displays."""
    before = sys.stdout, sys.stderr
    shown = Display(sys.stdout), Display(sys.stderr)
    sys.stdout, sys.stderr = shown
    try:
        yield
    finally:
        for stream in shown:
            stream.flush()
        sys.stdout, sys.stderr = before


def delivered() -> None:
    """At the end of a command whose only product is its output. A reader who has read enough (`| head`) is no failure.

    Raises:
        UserError: the output was lost.
    """
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    if lost and not isinstance(lost, BrokenPipeError):
        raise UserError(f"the output could not be written: {lost.strerror or lost}")


def print_data(text: str) -> None:
    """Text for a program: UTF-8 as in a file, whatever letters the terminal has."""
    sys.stdout.flush()
    if isinstance(sys.stdout, Display):
        sys.stdout.write_bytes(f"{text}\n".encode())
    else:
        print(text)
