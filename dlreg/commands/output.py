"""A file that a user named: a table, a page, a picture, predictions."""

from __future__ import annotations

from pathlib import Path

from dlreg import durable, ui
from dlreg.errors import UserError


def write(path: Path, content: bytes, flag: str = "-o") -> None:
    """Write it whole or not at all. If another content is lost by that, it is said.

    Raises:
        UserError: it cannot be written.
    """
    try:
        lost = path.is_file() and path.read_bytes() != content
        durable.write_atomic(path, content)
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written: {error.strerror or error}") from None
    if lost:
        ui.err.print(f"{path} was there, with another content, and was replaced", markup=False)
