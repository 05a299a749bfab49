"""The record of one run, its folder, and reading many of them back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from dlreg import durable
from dlreg.config.schema import GROUPS, LATER, LATER_DATA

FORMAT = 1  # of result.json and of what run_id hashes; a change that alters results of the same config raises it
Select = Literal["last", "best_val"]  # which epoch's numbers
Status = Literal["done", "diverged", "failed", "interrupted"]
STATUSES = ("done", "diverged", "failed", "interrupted", "missing")  # of planned runs; missing: not started
FINAL = ("done", "diverged")  # a run with such a status is not run again
NOT_IDENTITY = ("outputs", "threads", "progress", "rerun", "save_weights", "log")
NOT_IDENTITY_DATA = ("root", "download")

FIGURES = ("error", "mse")  # what is told of every run beside its loss: of classes, of values


def figure_of(numbers: Mapping[str, Any], prefix: str = "") -> str:
    """Which of `FIGURES` metrics have, or with `prefix="val_"` a row of the history.

    Raises:
        ValueError: none.
    """
    for figure in FIGURES:
        if f"{prefix}{figure}" in numbers:
            return figure
    raise ValueError(f"there is no {' or '.join(prefix + figure for figure in FIGURES)}")


def _metrics(found: dict[str, Any]) -> dict[str, Any]:
    if "loss" not in found or (found[figure_of(found)] or 0.0) < 0 or (found.get("error") or 0.0) > 1:
        raise ValueError("metrics must have a loss, and an error between 0 and 1 or a squared error")
    if not (isinstance(samples := found.get("samples", 1), int) and samples > 0):
        raise ValueError("metrics must be of at least one sample")
    return found


def _row(found: dict[str, Any]) -> dict[str, Any]:
    figure = figure_of(found, "val_")
    if missing := {"epoch", "train_loss", "val_loss", f"train_{figure}"} - found.keys():
        raise ValueError(f"an epoch lacks {sorted(missing)[0]}")
    return found


def _selected(found: dict[str, Any]) -> dict[str, Any]:
    if not {"last", "best_val"} <= found.keys():
        raise ValueError("metrics must be of `last` and of `best_val`")
    return found


def _described(config: dict[str, Any]) -> dict[str, Any]:
    """A config, the groups that it is too old for filled in, if what tables read of it is there and of its kind."""
    config = LATER | config
    for group, entry in GROUPS.items():
        nodes = config.get(group)
        inner = nodes.values() if entry.stack and isinstance(nodes, dict) else [nodes]
        if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in inner):
            raise ValueError(f"{group} is not as dlreg writes it")
        if not entry.stack and not isinstance(nodes.get("name"), str):
            raise ValueError(f"{group} has no name")
    for key, kind in (("seed", int), ("epochs", int), ("device", str), ("outputs", str)):
        if not isinstance(config.get(key), kind):
            raise ValueError(f"{key} is not as dlreg writes it")
    return config


Whole = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Whole | Annotated[float, Field(strict=True, allow_inf_nan=False)] | None
Measures = dict[str, Number | list[Number]]
Metrics = Annotated[dict[str, Number], AfterValidator(_metrics)]
Selected = Annotated[dict[str, Metrics | None], AfterValidator(_selected)]


@dataclass
class Result:
    """One run. Losses are means of its own loss, errors fractions, times seconds; numbers of a run not done are None."""

    run_id: str
    status: Status
    config: Annotated[dict[str, Any], AfterValidator(_described)]
    history: list[Annotated[dict[str, Number], AfterValidator(_row)]] = field(default_factory=list)
    train: Metrics | None = None
    val: Selected | None = None
    test: Selected | None = None
    measures: dict[str, Measures] = field(default_factory=dict)  # of a linear model, by selection
    seconds: Number = None
    parameters: Whole | None = None
    versions: dict[str, str] = field(default_factory=dict)
    fingerprint: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list)
    message: str | None = None  # why it is not done
    test_reads: Whole = 0
    test_set: str | None = None  # digest of the test samples: two runs with the same one met the same images
    files: dict[str, str] = field(default_factory=dict)  # what lies beside the result, with the SHA-256 of each
    format: Whole = FORMAT
    folder: Path | None = field(default=None, compare=False, repr=False)  # where it was read

    def packed(self) -> bytes:
        """The content of its `result.json`."""
        content = asdict(self)
        del content["folder"]
        return durable.sealed(content)

    def write(self, folder: Path) -> None:
        """To `folder/result.json`, atomically; a run that others may have in hand goes through its `Claim` instead."""
        durable.write_atomic(folder / "result.json", self.packed())


@dataclass(frozen=True)
class Unreadable:
    """A folder that looks like a run and cannot be read, and why."""

    folder: Path
    why: str


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that can change the result, as the first runs wrote it. The device counts by type, not by index."""
    kept = {k: v for k, v in config.items() if k not in NOT_IDENTITY and LATER.get(k) != v}
    kept["data"] = {
        k: v for k, v in kept["data"].items() if k not in NOT_IDENTITY_DATA and (k, v) not in LATER_DATA.items()
    }
    kept["device"] = str(kept["device"]).split(":")[0]
    return kept


def replicate(config: Mapping[str, Any]) -> int:
    """What pairs the runs of two rows: the seed; in a cross-validation each fold of each seed has a number."""
    folds = config["data"].get("folds")
    return int(config["seed"] * folds + config["data"]["fold"]) if folds else int(config["seed"])


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


_CHECKED = TypeAdapter(Result)


def read(folder: Path) -> Result | None:
    """The result in `folder`, or None if there is none yet.

    Raises:
        ValueError: what is wrong with the file: damaged, of another format, or not what dlreg writes.
    """
    try:
        raw = durable.read_json(folder / "result.json")
    except FileNotFoundError:
        return None
    if raw.get("format") != FORMAT:
        raise ValueError(f"result.json has format {raw.get('format')}; this dlreg reads {FORMAT}")
    try:
        result = _CHECKED.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"result.json is not a dlreg result: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None
    if result.run_id != run_id(result.config):
        raise ValueError("result.json is damaged: its config is not that of its run id")
    if result.status == "done" and not (result.history and result.train and result.test and result.test["last"]):
        raise ValueError("result.json is not a dlreg result: a run that is done has numbers")
    result.folder = folder
    return result


def damaged(result: Result, folder: Path) -> list[str]:
    """The files that the result lists and that do not lie in `folder` as they were written."""
    return [name for name in result.files if durable.read_listed(folder, name) is None]


def read_all(
    folders: Iterable[Path], apart: Callable[[Result], str] = lambda result: ""
) -> tuple[list[Result], list[Unreadable]]:
    """Every run in or below `folders`, once, and what could not be read. Two that `apart` tells apart are two.

    A run folder without a result is a run that was killed: it comes back as `interrupted`.
    """
    results: dict[tuple[str, str], Result] = {}
    unreadable = []
    for folder in (run for top in folders for run in _run_folders(top)):
        if isinstance(folder, Unreadable):
            unreadable.append(folder)
            continue
        try:
            result = read(folder) or _killed(folder)
        except (OSError, ValueError) as error:
            unreadable.append(Unreadable(folder, str(error)))
            continue
        results.setdefault((result.run_id, apart(result)), result)
    return list(results.values()), unreadable


def _run_folders(top: Path) -> Iterator[Path | Unreadable]:
    try:
        if (top / "config.json").exists() or (top / "result.json").exists():
            yield top
            return
        inside = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        yield Unreadable(top, f"cannot be read: {error.strerror or error}")
        return
    for folder in inside:
        yield from _run_folders(folder)


def _killed(folder: Path) -> Result:
    config = durable.read_json(folder / "config.json")
    try:
        return Result(run_id(_described(config)), "interrupted", config, message="killed before its end")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"config.json is not a dlreg config: {error}") from None
