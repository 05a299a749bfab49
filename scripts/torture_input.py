"""Hostile and fuzzed values, command lines and YAML: each is accepted or refused in lines of its own, and runs nothing."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import traceback
from collections.abc import Callable
from typing import Any

from torture_trials import Trials

from dlreg.cli import main
from dlreg.config.check import settings
from dlreg.config.compose import compose
from dlreg.config.options import conf_dir, options
from dlreg.config.schema import GROUPS, walk
from dlreg.errors import UserError

VALUES = (
    None, True, False, 0, 1, -1, 2, 10**9, 10**12, 10**400, -0.0, 0.5, 1e-320, 1e308, math.inf, -math.inf, math.nan,
    "", "x", "0", "full", "auto", "none", "null", "é" * 50, "\x1b[31m", "a\nb", "\0", "\udcff", "../x", "/etc/passwd",
    "${seed}", "${oc.env:HOME}", "${now:%Y}", "x" * 10_000, "canary.x", "os.system", "dlreg.config.build.os.system",
    [], [[]], [0], [1, 2], [-1], ["x"], [math.nan], [1] * 10_000, {}, {"_target_": "canary.x"}, {"": 1}, {1: 2}, {"x": {}},
)  # fmt: skip
TEXTS = (
    "", "null", "true", "1", "-1", "0", "1e12", "1e400", "nan", "inf", "[]", "[[", "{}", "{a:1}", "{_target_:canary.x}",
    "${seed}", "${oc.env:HOME}", "${", "}", "'", '"', "\\", "\x1b[31m", "\n", "\t", "\0x", "\udcff", "é", "../x", "a,b",
    "range(3)", "choice(1,2)", "glob(*)", "sort(2,1)", "shuffle(1,2)", "cast(1)", "int(x)", "extend_list(1)", "x" * 3000,
)  # fmt: skip
HYDRA = (
    "hydra.job.env_set={DLREG_PLUGINS:canary}", "+hydra.callbacks.x._target_=canary.x", "hydra.run.dir=written",
    "hydra/job_logging=default", "hydra.searchpath=[pkg://canary]", "hydra/launcher=basic", "hydra.launcher.x=1",
    "--experimental-rerun=x", "--exp=x", "-cp", "--config-name=canary", "-m", "--cfg=job", "--", "-", "=", "~reg", "+reg=l2",
)  # fmt: skip
NO_DATA = ("data=npz", "data.file=nosuch.npz")  # what is accepted is refused when its data are read, before any work


def values(trials: Trials, scale: float) -> None:
    """Trees with a few leaves or branches replaced, through the checks of every experiment."""
    chance = trials.chance
    everything = [f"{g}={name}" for g in GROUPS for name in options(g)]
    trees = [compose([word]).model_dump() for word in everything]
    for _ in range(int(20_000 * scale)):
        tree = copy.deepcopy(chance.choice(trees))
        done = []
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            done.append(_replace(tree, chance.choice([key for key, _ in walk(tree)]), trials))
        _told(trials, done, lambda tree=tree: settings(tree))


def lines(trials: Trials, scale: float) -> None:
    """Command lines of plain, hostile and damaged words, through the entry point."""
    chance = trials.chance
    keys = [key for key, _ in walk(compose(["reg=dropout", "aug=crop"]).model_dump())]
    plain = [f"{g}={name}" for g in GROUPS if g != "data" for name in options(g)]
    for _ in range(int(600 * scale)):
        words = [chance.choice(plain) for _ in range(chance.randrange(3))]
        words += [f"{chance.choice(keys)}={chance.choice(TEXTS)}" for _ in range(chance.randrange(3))]
        words += [chance.choice(HYDRA)] * chance.randrange(2)
        words = [_damaged(word, trials) if chance.random() < 0.3 else word for word in words]
        _line(trials, ["train", *NO_DATA, *words])


def yaml(trials: Trials, scale: float) -> None:
    """Option files of dlreg's own with bytes, lines and values damaged, given as a user's."""
    chance = trials.chance
    originals = [(g, path.read_bytes()) for g in GROUPS for path in options(g).values()]
    studies = [path.read_bytes() for path in (conf_dir() / "study").glob("*.yaml")]
    for _ in range(int(600 * scale)):
        group, content = chance.choice(originals)
        file = trials.folder / "conf" / group / "fuzzed.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_damaged_bytes(content, trials))
        where = () if group == "data" else NO_DATA
        _line(trials, ["train", f"{group}=fuzzed", *where, "epochs=1", "outputs=/dev/null/x", "-cd", "conf"])
        file.unlink()
    for _ in range(int(100 * scale)):
        (trials.folder / "fuzzed.yaml").write_bytes(_damaged_bytes(chance.choice(studies), trials))
        _line(trials, ["study", "fuzzed.yaml", "--dry-run", "outputs=/dev/null/x"])


def _replace(tree: dict[str, Any], key: str, trials: Trials) -> tuple[str, Any]:
    """Put a hostile value at the key, or at one of the branches that lead to it."""
    parts = key.split(".")
    parts = parts[: trials.chance.randint(max(1, len(parts) - 1), len(parts))]
    value, node = trials.chance.choice(VALUES), tree
    for part in parts[:-1]:
        node = node[part] if isinstance(node.get(part), dict) else {}
    node[parts[-1]] = copy.deepcopy(value)
    return ".".join(parts), value


def _line(trials: Trials, argv: list[str]) -> None:
    """One command line: 0, or 2 with at least one line; nothing else on stderr."""
    out, err = io.StringIO(), io.StringIO()

    def call() -> None:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(argv)
        said = err.getvalue()
        if status == 2 and all(line.startswith("dlreg") for line in said.splitlines()) and said:
            raise UserError(said)
        if status != 0:
            trials.fault(f"status {status}, {said!r}", argv)

    before = {path.name for path in trials.folder.iterdir()}
    _told(trials, argv, call)
    for name in {path.name for path in trials.folder.iterdir()} - before - {"__pycache__"}:
        trials.fault(f"written {name}", argv)


def _told(trials: Trials, given: object, call: Callable[[], object]) -> None:
    """Count how a call ended; only a UserError may end it, and not with pages of text."""
    with trials.watched(given):
        try:
            call()
            trials.ended["accepted"] += 1
        except UserError as error:
            trials.ended["refused"] += 1
            if max(map(len, str(error).splitlines())) > 5000:
                trials.fault(f"{len(str(error))} characters", given)
        except BaseException as error:
            trials.ended["broken"] += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            trials.fault(f"{type(error).__name__} at {last.filename.rpartition('/')[2]}:{last.lineno}", given)


def _damaged(word: str, trials: Trials) -> str:
    chance = trials.chance
    at = chance.randrange(len(word) + 1)
    return word[:at] + chance.choice(TEXTS) + word[at + chance.randrange(3) :]


def _damaged_bytes(content: bytes, trials: Trials) -> bytes:
    chance = trials.chance
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(content) + 1)
        kind = chance.randrange(4)
        if kind == 0 and content:  # a bit
            at = min(at, len(content) - 1)
            content = content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
        elif kind == 1:  # a cut
            content = content[:at]
        elif kind == 2:  # a text in between
            text = chance.choice(TEXTS).encode("utf-8", "surrogateescape")
            content = content[:at] + text + content[at:]
        else:  # another value
            rows = content.split(b"\n")
            row = chance.randrange(len(rows))
            text = chance.choice(TEXTS).encode("utf-8", "surrogateescape")
            rows[row] = rows[row].partition(b":")[0] + b": " + text
            content = b"\n".join(rows)
    return content
