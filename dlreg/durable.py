"""Every write that must survive a crash goes through here: the old file or the new one, never a torn one.

And every file says whether it is what was written: JSON by a seal in its first line, a checkpoint by a checksum in front,
what a finished run leaves besides by checksums in its sealed `result.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

MAGIC = b"dlreg1\n"
SEAL = b'{"seal": "'


def write_atomic(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to the disk, rename over it, flush the folder. Raises OSError; `path` is then as it was."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # also unlike those of other machines
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


def fill(beside: Path, content: bytes, path: Path) -> None:
    """`write_atomic` through a file that must be there already: whoever removes it first has forbidden the write.

    Raises:
        FileNotFoundError: it was removed; `path` is as it was. OSError: it cannot be written; nor is `path` changed.
    """
    with open(beside, "r+b") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    _sync_folder(path.parent)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """JSON whose first member is the SHA-256 of all the bytes behind it.

    NaN or Infinity raise ValueError here instead of poisoning a table later.
    """
    write_atomic(path, sealed(value))


def sealed(value: dict[str, Any]) -> bytes:
    """What `write_json` writes."""
    body = (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()[1:]
    return SEAL + digest(body).encode() + b'",' + body


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote. Files from before there were seals begin otherwise, and are read unchecked.

    Raises:
        FileNotFoundError: there is none. ValueError: what is wrong with it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}") from None
    if raw.startswith(SEAL):
        at = len(SEAL)
        seal, body = raw[at : at + 64], raw[at + 66 :]
        if seal.decode(errors="replace") != digest(body) or raw[at + 64 : at + 66] != b'",':
            raise ValueError(f"{path.name} is damaged: its content does not match its seal")
        raw = b"{" + body
    elif not raw.startswith(b"{\n "):
        raise ValueError(f"{path.name} is damaged, or not of dlreg")
    try:
        value = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    assert isinstance(value, dict)
    return value


def write_checked(path: Path, content: bytes) -> None:
    """`write_atomic` with a SHA-256 in front; the file it replaces stays beside it as `NAME.previous`."""
    if path.exists():
        os.replace(path, previous(path))
    write_atomic(path, MAGIC + hashlib.sha256(content).digest() + content)


def intact(path: Path) -> bytes | None:
    """The content of one file of `write_checked`'s, or None if it is damaged or not there."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    head, checksum, content = raw[: len(MAGIC)], raw[len(MAGIC) : len(MAGIC) + 32], raw[len(MAGIC) + 32 :]
    return content if head == MAGIC and hashlib.sha256(content).digest() == checksum else None


def read_listed(folder: Path, name: str) -> bytes | None:
    """A file that the finished run in `folder` left, or None if it is not there or not what the result says it was.

    Runs from before results listed their files kept a checksum in the file itself.
    """
    try:
        files = read_json(folder / "result.json").get("files")
        if not files:
            return intact(folder / name)
        content = (folder / name).read_bytes()
    except (OSError, ValueError):
        return None
    return content if isinstance(files, dict) and files.get(name) == digest(content) else None


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def tidy(folder: Path) -> None:
    """Remove what writers killed in mid-write left in `folder`; only for who holds the folder's claim."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def previous(path: Path) -> Path:
    """Where `write_checked` keeps the last but one content."""
    return path.with_name(path.name + ".previous")


def _refuse(constant: str) -> float:
    raise ValueError(f"it holds {constant}, which is not JSON")


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
