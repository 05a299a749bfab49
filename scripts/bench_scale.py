"""How the cost grows with the work: nothing should grow faster."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SMALL = {"model": "mlp", "model.hidden": "[64]", "epochs": "10", "device": "cpu", "progress": "false"}
TIMES = (1, 2, 4, 8)
AXES: dict[str, Callable[[int], dict[str, str]]] = {  # what grows: keys of `dlreg train` at k times the smallest
    "epochs": lambda k: {"epochs": f"{20 * k}"},
    "samples": lambda k: {"data.train_size": f"{160 * k}", "epochs": "80"},
    "batch": lambda k: {"batch_size": f"{16 * k}", "epochs": "20"},
    "width": lambda k: {"model.hidden": f"[{256 * k},{256 * k}]"},
    "depth": lambda k: {"model.hidden": f"[{','.join(['128'] * k)}]"},
    "seeds": lambda k: {"seed": ",".join(map(str, range(4 * k)))},
}
FOLDERS = 32  # runs in the folder that `dlreg table` reads, at the smallest


def scale(only: list[str]) -> None:
    """Processor seconds and megabytes of whole processes, less those of a run of no length."""
    base = _cost(_train({"epochs": "1"}))
    print(
        f"a run of one epoch: {base[0]:.2f} s, {base[1]:.0f} MB; below: what is added at 1, 2, 4 and 8 times the work"
    )
    for axis, words in AXES.items():
        if not only or axis in only:
            _line(axis, [_cost(_train(words(k))) for k in TIMES], base)
    if not only or "folders" in only:
        _line("folders", list(_tables()), (0.0, 0.0))


def _line(axis: str, costs: list[tuple[float, float]], base: tuple[float, float]) -> None:
    seconds = "".join(f"{max(s - base[0], 0):8.2f}" for s, _ in costs)
    memory = "".join(f"{max(m - base[1], 0):7.0f}" for _, m in costs)
    print(f"{axis:10} s{seconds}    MB{memory}", flush=True)


def _train(words: dict[str, str]) -> list[str]:
    many = ["-m"] if "," in words.get("seed", "") else []
    return ["train", *many, *(f"{key}={value}" for key, value in (SMALL | words).items())]


def _tables() -> list[tuple[float, float]]:
    """`dlreg table` over more and more runs."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for k in TIMES:
            seeds = ",".join(map(str, range(FOLDERS * k)))
            _cost(_train({"epochs": "1", "data.train_size": "32", "seed": seeds}), folder)
            found.append(_cost(["table", str(Path(folder) / "outputs")], folder))
    return found


def _cost(argv: list[str], folder: str | None = None) -> tuple[float, float]:
    """Processor seconds of the process and its children, and its largest resident set in MB; the shorter of two."""
    if folder is None:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            return min(_cost(argv, one), _cost(argv, other))
    code = (
        "import resource, sys; from dlreg.cli import main; status = main(sys.argv[1:]);"
        "used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)];"
        "print(sum(u.ru_utime + u.ru_stime for u in used), used[0].ru_maxrss / 1024, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=folder, capture_output=True, text=True, check=True)
    seconds, memory = done.stderr.strip().splitlines()[-1].split()
    return float(seconds), float(memory)
