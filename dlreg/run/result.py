"""The record of one run, its folder, and reading many of them back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dlreg import durable

FORMAT = 1  # of result.json and of what run_id hashes; a change that alters results of the same config raises it
Status = Literal["done", "diverged", "failed", "interrupted"]
STATUSES = ("done", "diverged", "failed", "interrupted", "missing")  # of planned runs; missing: not started
FINAL = ("done", "diverged")  # a run with such a status is not run again
NOT_IDENTITY = ("outputs", "threads", "progress", "rerun", "save_weights")
NOT_IDENTITY_DATA = ("root", "download")


@dataclass
class Result:
    """One run. Losses are mean cross-entropies, errors fractions, times seconds; numbers of a run not done are None."""

    run_id: str
    status: Status
    config: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    train: dict[str, Any] | None = None
    val: dict[str, Any] | None = None  # {"last": {...}, "best_val": {...}}
    test: dict[str, Any] | None = None
    seconds: float | None = None
    parameters: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list)
    message: str | None = None  # why it is not done
    test_reads: int = 0
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """To `folder/result.json`, atomically."""
        durable.write_json(folder / "result.json", asdict(self))


@dataclass(frozen=True)
class Unreadable:
    """A folder that looks like a run and cannot be read, and why."""

    folder: Path
    why: str


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that can change the result. The device counts by type, not by index."""
    kept = {k: v for k, v in config.items() if k not in NOT_IDENTITY}
    kept["data"] = {k: v for k, v in kept["data"].items() if k not in NOT_IDENTITY_DATA}
    kept["device"] = str(kept["device"]).split(":")[0]
    return kept


def run_id(config: Mapping[str, Any]) -> str:
    """A readable prefix and a hash of `identity(config)`: the same experiment always has the same folder."""
    content = identity(config)
    # The order of stacked options matters (clip, then noise), so keys are not sorted across the whole tree.
    stacks = {group: list(content[group]) for group in ("aug", "reg")}
    text = json.dumps([FORMAT, content, stacks], sort_keys=True, allow_nan=False)
    words = [content[g]["name"] for g in ("data", "model", "optimizer")]
    words += ["+".join(stacks[g]) for g in ("reg", "aug") if stacks[g]]
    prefix = re.sub(r"[^A-Za-z0-9_+.-]", "_", "-".join(words))[:80].lstrip(".")
    return f"{prefix}-s{content['seed']}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def read(folder: Path) -> Result | None:
    """The result in `folder`, or None if there is none yet. Raises ValueError naming what is wrong with the file."""
    try:
        raw = json.loads((folder / "result.json").read_bytes(), parse_constant=_refuse)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"result.json cannot be read: {error}") from None
    if not isinstance(raw, dict) or not {"run_id", "status", "config"} <= raw.keys():
        raise ValueError("result.json is not a dlreg result")
    if raw.get("format") != FORMAT:
        raise ValueError(f"result.json has format {raw.get('format')}; this dlreg reads {FORMAT}")
    known = {f.name for f in fields(Result)}
    return Result(**{k: v for k, v in raw.items() if k in known})


def read_all(folders: Iterable[Path]) -> tuple[list[Result], list[Unreadable]]:
    """Every run in or below `folders`, and what could not be read.

    A run folder without a result is a run that was killed: it comes back as `interrupted`.
    """
    results: dict[str, Result] = {}
    unreadable = []
    for folder in (run for top in folders for run in _run_folders(top)):
        try:
            result = read(folder) or _killed(folder)
        except ValueError as error:
            unreadable.append(Unreadable(folder, str(error)))
            continue
        results.setdefault(result.run_id, result)
    return list(results.values()), unreadable


def _run_folders(top: Path) -> Iterator[Path]:
    if (top / "config.json").exists() or (top / "result.json").exists():
        yield top
        return
    try:
        inside = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return
    for folder in inside:
        yield from _run_folders(folder)


def _killed(folder: Path) -> Result:
    try:
        config = json.loads((folder / "config.json").read_bytes())
        return Result(run_id(config), "interrupted", config, message="killed before its end")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"config.json cannot be read: {error}") from None


def _refuse(constant: str) -> float:
    raise ValueError(f"result.json holds {constant}, which is not JSON")
