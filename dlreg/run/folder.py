"""The folder of a run that somebody names."""

from __future__ import annotations

from pathlib import Path

from dlreg.errors import UserError, did_you_mean, shown


def run_folder(run: str | Path, outputs: str = "outputs") -> Path:
    """The folder of a run that was named by it, or by the name it has in `outputs`.

    Raises:
        UserError: there is none.
    """
    for folder in (Path(run).expanduser(), Path(outputs) / run):
        if (folder / "result.json").is_file():
            return folder
    known = [path.parent.name for path in Path(outputs).glob("*/result.json")]
    raise UserError(f"{shown(run)} is not the folder of a finished run.{did_you_mean(Path(run).name, known)}")
