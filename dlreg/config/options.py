"""Where the options lie: one YAML file each, dlreg's own and a user's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dlreg.errors import UserError, shown


def conf_dir() -> Path:
    """The folder of YAML options: `dlreg/conf` in a wheel, `conf` beside the package in a checkout."""
    here = Path(__file__).resolve().parent.parent
    for candidate in (here / "conf", here.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise FileNotFoundError("dlreg's conf/ was not found beside the package: reinstall dlreg")


def options(group: str, config_dirs: Sequence[str] = ()) -> dict[str, Path]:
    """Every option of a group and its YAML file; packaged options come before a user's of the same name."""
    found: dict[str, Path] = {}
    for folder in [conf_dir(), *map(Path, config_dirs)]:
        for path in sorted((folder / group).glob("*.yaml")):
            if path.is_file():
                found.setdefault(path.stem, path)
    return found


def config_dir_flags(folders: Sequence[str]) -> list[str]:
    """The flags that name these folders, as `user_config_dirs` takes them."""
    return [word for folder in folders for word in ("--config-dir", folder)]


def user_config_dirs(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `-cd DIR` / `--config-dir DIR` / `--config-dir=DIR` out of the arguments: (folders, the rest).

    Without one of them the folder is that of the environment's DLREG_CONF_DIR, if it names one.

    Raises:
        UserError: a folder that is not there or cannot be read.
    """
    folders, rest, it = [], [], iter(argv)
    for word in it:
        if word in ("-cd", "--config-dir"):
            folders.append(next(it, ""))
        elif word.startswith(("--config-dir=", "-cd=")):
            folders.append(word.split("=", 1)[1])
        else:
            rest.append(word)
    folders = folders or list(filter(None, [os.environ.get("DLREG_CONF_DIR")]))
    for folder in folders:
        try:
            os.scandir(folder).close()
        except (OSError, ValueError) as error:
            why = "is not a folder" if isinstance(error, NotADirectoryError | FileNotFoundError) else "cannot be read"
            raise UserError(f"--config-dir={shown(folder)} {why}") from None
    return folders, rest


def text_of(path: Path) -> str:
    """The YAML of an option.

    Raises:
        UserError: it cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{shown(path)} cannot be read: {shown(error)}") from None


def headline(path: Path) -> str:
    """The first comment line of an option's YAML (Hydra's own `# @package` lines apart)."""
    lines = text_of(path).splitlines()
    first = next((line for line in lines if not line.startswith("# @")), "")
    return first.lstrip("# ") if first.startswith("#") else ""
