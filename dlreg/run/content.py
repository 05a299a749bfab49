"""What decides a result besides the settings: the files that are read, and the source of classes outside dlreg."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dlreg.config.build import build, is_option, locate
from dlreg.config.schema import GROUPS, Settings
from dlreg.data.base import Dataset, Split
from dlreg.run.parts import load
from dlreg.run.result import NOT_IDENTITY
from dlreg.run.start import origin

OURS = ("dlreg", "torch")  # what they are is said by the versions of a result


def content(settings: Settings) -> dict[str, str]:
    """What the settings leave open; often empty.

    `data` -> the digest of data that are no official set; `start` -> that of the weights it begins with, and their run;
    PACKAGE -> the digest of a plugin's source; GROUP.OPTION -> its revision, if what dlreg makes of the same settings has
    changed since the first; GROUP.OPTION.files -> the digest of the files that it reads (a class says which by
    `files(**hyperparameters)`), another run's weights for example.
    """
    found = {"data": data_digest(settings.data) or "", "start": origin(settings) or ""}
    for group, word, node in _nodes(settings):
        target = locate(group, node)
        package = target.__module__.split(".")[0]
        if package not in OURS:
            found[package] = source_digest(package)
        elif (revision := _revision(target, node, settings)) > 1:
            found[f"{group}.{word}"] = f"revision {revision}"
        if group != "data" and hasattr(target, "files"):
            found[f"{group}.{word}.files"] = "".join(map(file_digest, filter(Path.is_file, target.files(**node))))
    return {name: found[name] for name in sorted(found) if found[name]}


def _revision(target: Any, node: Mapping[str, Any], settings: Settings) -> int:
    """A class whose meaning changed for some settings only says for which by `revision_of(its own, the optimizer's)`."""
    of_some = getattr(target, "revision_of", None)
    return int(of_some(node, settings.optimizer) if of_some else getattr(target, "revision", 1))


def data_digest(node: Mapping[str, Any]) -> str | None:
    """Of the files that the `data` options name; None for an official set, and for files that are not there."""
    source = build("data", node)
    files = getattr(source.func, "files", None)
    if files is None:  # a source of somebody's own, which does not say what it reads
        return dataset_digest(load(node))
    root = Path(node["root"]).expanduser()
    paths = [path for path in files(root, **source.keywords) if path.is_file()]
    digests = [file_digest(path) for path in paths]
    if set(digests) <= source.func.official:
        return None
    named = [f"{path.relative_to(root)} {digest}" for path, digest in zip(paths, digests, strict=True)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def dataset_digest(dataset: Dataset) -> str:
    """Of all samples and labels."""
    return hashlib.sha256((split_digest(dataset.train) + split_digest(dataset.test)).encode()).hexdigest()


def split_digest(split: Split) -> str:
    """Of the samples and labels of one split."""
    both = hashlib.sha256()
    for tensor in (split.x, split.y):
        both.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        both.update(_bytes(tensor))
    return both.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read once as long as its size and its time of change stay."""
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


def source_digest(package: str) -> str:
    """Of all Python files of a package or a module outside dlreg."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
    return hashlib.sha256("".join(file_digest(path) for path in files).encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _nodes(settings: Settings) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """`(group, word, node)` of every option that counts, those inside options (the base of SAM) too."""
    for group, entry in GROUPS.items():
        if group in NOT_IDENTITY:
            continue
        chosen = getattr(settings, group)
        found = list(chosen.items()) if entry.stack else [(chosen["name"], chosen)]
        while found:
            word, node = found.pop()
            yield group, word, node
            found += [(f"{word}.{key}", inner) for key, inner in node.items() if is_option(inner)]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().numpy().data.cast("B")
