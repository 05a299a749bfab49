"""Every write that must survive a crash goes through here: the old file or the new one, never a torn one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

MAGIC = b"dlreg1\n"


def write_atomic(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, rename over it, flush the folder. Raises OSError; `path` is then as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """JSON without NaN or Infinity: such a number raises ValueError here instead of poisoning a table later."""
    write_atomic(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_checked(path: Path, content: bytes) -> None:
    """`write_atomic` with a SHA-256 in front; the file it replaces stays beside it as `NAME.previous`."""
    if path.exists():
        os.replace(path, previous(path))
    write_atomic(path, MAGIC + hashlib.sha256(content).digest() + content)


def read_checked(path: Path) -> bytes | None:
    """The newest intact content that `write_checked` left at `path`, or None. Damage is never returned as content."""
    for candidate in (path, previous(path)):
        try:
            raw = candidate.read_bytes()
        except OSError:
            continue
        head, digest, content = raw[: len(MAGIC)], raw[len(MAGIC) : len(MAGIC) + 32], raw[len(MAGIC) + 32 :]
        if head == MAGIC and hashlib.sha256(content).digest() == digest:
            return content
    return None


def tidy(folder: Path) -> None:
    """Remove what writers killed in mid-write left in `folder`; only for who holds the folder's lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Where `write_checked` keeps the last but one content."""
    return path.with_name(path.name + ".previous")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
