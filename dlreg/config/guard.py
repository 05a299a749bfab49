"""What a command line and a config may ask of Hydra. One allow-list, applied before anything is run.

Hydra can instantiate callbacks, set the environment, configure logging into any file, import packages of options and
unpickle a run, and OmegaConf can read the environment: a config could do what its reader does not see. dlreg needs the
launcher and nothing else of it, so whatever else is said about Hydra must be what dlreg says itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlreg.config.hints import choosing
from dlreg.config.schema import GROUPS, walk
from dlreg.errors import UserError, did_you_mean, shown

_CFG, _INFO = ("job", "hydra", "all"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
FLAGS: dict[str, tuple[str, ...] | None] = {  # flag -> its values: () takes none, None takes any
    **dict.fromkeys(("--help", "-h", "--hydra-help", "--version", "--resolve"), ()),
    **dict.fromkeys(("--multirun", "-m", "--run", "-r", "--shell-completion", "-sc", "--dry-run"), ()),
    **dict.fromkeys(("--cfg", "-c"), _CFG),
    **dict.fromkeys(("--info", "-i"), _INFO),
    **dict.fromkeys(("--package", "-p", "--margin", "--jobs", "--per-gpu", "--per-job"), None),
}
DATA_ROOT = "${oc.env:DLREG_DATA,'~/.cache/dlreg'}"  # the one value that comes from the environment
_NO_LOG = {"version": 1, "root": None, "disable_existing_loggers": False}
OURS = {  # Hydra's keys that act, with dlreg's own values
    "run": {"dir": "${outputs}"},
    "sweep": {"dir": "${outputs}", "subdir": "."},
    "sweeper": {
        "_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
        "max_batch_size": None,
        "params": None,
    },
    "hydra_logging": _NO_LOG,
    "job_logging": _NO_LOG,
    "callbacks": {},
    "env": {},
    "output_subdir": None,
    "verbose": False,
}
OURS_JOB: dict[str, Any] = {"chdir": None, "env_set": {}, "env_copy": []}
TOLD = ("help", "hydra_help", "mode", "overrides", "runtime", "job", "searchpath", "launcher")  # what Hydra tells us
LAUNCHERS = ("hydra_plugins.", "hydra._internal.core_plugins.")  # Hydra takes only plugins that it found there
_PLAIN_REFERENCE = re.compile(r"\$\{[\w.\[\]]*\}")
_OPTION_NAME = re.compile(r"[\w+-][\w.+-]{0,99}")


def split_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """`(flags with their values, overrides)`: Hydra 1.3 refuses a flag between overrides.

    Raises:
        UserError: a flag that is not one of `FLAGS`, written out.
    """
    flags, rest, it = [], [], iter(argv)
    for word in it:
        if not word.startswith("-"):
            rest.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag not in FLAGS or (equals and not (flag.startswith("--") and FLAGS[flag] != ())):
            known = [f for f in (*FLAGS, "--config-dir") if f.startswith("--")]
            hint = choosing(flag.lstrip("-")) or did_you_mean(flag, known) or f" Allowed: {', '.join(known)}."
            raise UserError(f"{shown(word)}: there is no such flag.{hint}")
        flags.append(word)
        allowed = FLAGS[flag]
        if allowed != () and not equals:
            value = next(it, "")
            flags.append(value)
        if allowed and value not in allowed:
            hint = did_you_mean(value, allowed)
            raise UserError(f"{flag} {shown(value)} must be one of {', '.join(allowed)}.{hint}")
    return flags, rest


def words(overrides: Sequence[str]) -> list[Override]:
    """Read overrides; refuse those that reach for more than an experiment and its launcher, or say one key twice.

    Raises:
        UserError: naming the override.
    """
    once(overrides)
    return [_word(word) for word in overrides]


@functools.lru_cache(maxsize=4096)
def _word(word: str) -> Override:
    _no_resolvers("", word)
    try:
        override = OverridesParser.create().parse_override(word)
    except Exception:  # Hydra's, the grammar's, too deep a nesting, a number of too many digits
        hint = choosing(word) or " Write KEY=VALUE, and quote what the shell would take apart"
        raise UserError(f"{shown(word)}: this override cannot be read.{hint}") from None
    _reach(override, word)
    if override.key_or_group in GROUPS and not override.is_sweep_override():
        _option_names(override.key_or_group, override.value())
    return override


def no_interval(override: Override) -> None:
    """Refuse a draw from an interval where a grid is run.

    Raises:
        UserError: naming the command that draws.
    """
    if override.is_interval_sweep():
        raise UserError(
            f"{shown(override.input_line)}: a grid has no intervals; list values ({override.key_or_group}=0.1,0.3), or let "
            f"dlreg tune draw: dlreg tune '{override.input_line}' trials=20"
        )


def once(overrides: Sequence[str]) -> None:
    """Refuse a key that is given twice: one of the values would be dropped without a word.

    Raises:
        UserError: naming both.
    """
    seen: dict[str, str] = {}
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if key in seen:
            stack = key in GROUPS and GROUPS[key].stack
            both = ",".join(w.partition("=")[2].strip("[]") for w in (seen[key], word))
            instead = f"write {key}=[{both}] for both" if stack else "give it once"
            raise UserError(f"{shown(key)} is given twice, {shown(seen[key])} and {shown(word)}; {instead}")
        seen[key] = word


def composed(cfg: DictConfig) -> None:
    """Refuse a composed config in which an option's file did what `words` refuses on the command line.

    Raises:
        UserError: naming the key.
    """
    tree = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(tree, dict)
    for key, value in _leaves({str(k): v for k, v in tree.items()}):
        if value != DATA_ROOT:
            _no_resolvers(key, value)
    hydra = tree.get("hydra")
    if not isinstance(hydra, Mapping):
        return
    for key, value in hydra.items():
        if key not in TOLD and (key not in OURS or value != OURS[key]):
            raise UserError(f"hydra.{key}: an option must not change Hydra's own settings")
    for key, value in OURS_JOB.items():
        if hydra["job"].get(key) != value:
            raise UserError(f"hydra.job.{key}: an option must not change Hydra's own settings")
    launcher = dict(hydra.get("launcher") or {})
    if not str(launcher.pop("_target_", "")).startswith(LAUNCHERS):
        raise UserError("hydra.launcher must be a launcher's plugin: basic, joblib or submitit")
    for key, value in _leaves(launcher):
        if re.search(r"(^|\.)_", key):
            raise UserError(f"hydra.launcher.{key}={shown(value)}: a launcher's values are plain ones")


def value(key: str, said: Any) -> None:
    """Refuse a value that is set in a composed config, for what `composed` refuses.

    Raises:
        UserError: naming the key.
    """
    for where, leaf in _leaves({key: said}):
        _no_resolvers(where, leaf)


def option_name(group: str, name: str) -> None:
    """Refuse a path in place of an option's word: it would be the same option under another name, or any file.

    Raises:
        UserError: it is not a word.
    """
    if not _OPTION_NAME.fullmatch(name):
        raise UserError(f"{group}={shown(name)}: an option is named by one word, not by a path")


def _reach(override: Override, word: str) -> None:
    """What of Hydra an override touches."""
    key, package = override.key_or_group, override.package or ""
    if package and package.split(".")[0] not in GROUPS:
        raise UserError(f"{shown(word)}: an option can be put only inside {', '.join(GROUPS)}")
    if re.split(r"[./]", key)[0] != "hydra":
        return
    if key.startswith("hydra.launcher.") or (key == "hydra/launcher" and not override.is_delete()):
        return
    tune = "; settings are tuned by `dlreg tune`" * key.startswith(("hydra/sweeper", "hydra.sweeper"))
    raise UserError(
        f"{shown(word)}: of Hydra's own settings only the launcher can be chosen (hydra/launcher=, hydra.launcher.KEY=){tune}"
    )


def _option_names(group: str, value: Any) -> None:
    names = [str(part) for part in value] if isinstance(value, list) else [str(value)]
    for name in names:
        if value is not None:
            option_name(group, name)
        if names.count(name) > 1:
            raise UserError(f"{group}=[{','.join(names)}]: {name} stands there twice")


def _no_resolvers(key: str, value: Any) -> None:
    """Only plain references, `${seed}`: what calls something could read the environment, or the clock."""
    left = value if isinstance(value, str) else ""
    while _PLAIN_REFERENCE.search(left):
        left = _PLAIN_REFERENCE.sub("", left)
    if "${" in left:
        place = f"{key}=" * bool(key) + shown(value)
        raise UserError(f"{place}: only another key can be referred to, ${{seed}}; nothing may be read or computed")


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`walk`, into lists too."""
    for key, value in walk(tree):
        yield from _of_list(key, value) if isinstance(value, list) else [(key, value)]


def _of_list(key: str, values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for i, value in enumerate(values):
        if isinstance(value, Mapping):
            yield from _leaves({f"{key}.{i}": value})
        elif isinstance(value, list):
            yield from _of_list(f"{key}.{i}", value)
        else:
            yield f"{key}.{i}", value
