"""argv -> command. Nothing heavy is imported here: `dlreg --help` must be instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from dlreg import __version__
from dlreg.display import delivered, displayed
from dlreg.errors import Interrupted, UserError, did_you_mean, shown

LONGEST = 600  # characters of a message: whatever a file or a library puts into it
COMMANDS = {
    "train": "run one experiment, or with -m a grid of them",
    "table": "compare finished runs: what differs, mean and sd over seeds, difference to the baseline",
    "study": "the lecture's tables: run what is missing of one, print it beside the published numbers",
    "tune": "rows with equal chances: as many trials for each, chosen on validation, compared on other seeds",
    "ablate": "one recipe taken apart: what each of its words gains, alone and beside the others",
    "plot": "learning curves, dot plots with intervals, parameter sweeps, tuning budgets",
    "report": "a run, a study or a set of runs as one HTML page: curves, confusions, mistakes, weights",
    "predict": "what the model of a finished run says of each sample, of its test set or of other data",
    "surface": "the loss around the solution of a run, or on the line between two",
    "list": "every group and option, one line each",
    "landscape": "the paths of optimizers on two-dimensional surfaces, drawn and timed",
    "show": "the card of one option: formula, source, parameters (dlreg show reg=dropout)",
}
HELP = f"""dlreg: does this trick help, and by how much?

usage: dlreg COMMAND [ARGUMENTS]

{chr(10).join(f"  {name:<10}{text}" for name, text in COMMANDS.items())}

  dlreg train optimizer=adam reg=dropout                           one run on the embedded digits
  dlreg train -m reg=none,dropout optimizer=sgd,adam seed=0,1,2    a grid; again: only what is missing
  dlreg table                                                      what came out, side by side

`dlreg COMMAND --help` says more. Shell completion: eval "$(dlreg -sc install=bash)"
(after bashcompinit in zsh too; in fish: dlreg -sc install=fish | source)
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # torch's threads (GNU OpenMP) wait for each other by spinning, on a core that other work may need. Two threads of LeNet
    # beside two busy processes, against one: 0.05 as torch has it, 0.4 with 10,000 spins, 0.7 with 1,000. Alone on two
    # cores 4,000 or 1,000 cost a third of the speed that 10,000 have: who shares the cores says threads=1.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    argv = list(sys.argv[1:] if argv is None else argv)
    with displayed():
        return _command(argv)


def _command(argv: list[str]) -> int:
    if argv[:1] in (["-sc"], ["--shell-completion"]):
        rest = _completion(argv)
        if rest is None:
            return 0
        argv = ["train", *rest]
    if not argv or argv[0] in ("-h", "--help", "help"):
        return _guarded("", lambda: _print(HELP))
    if argv[0] in ("-V", "--version"):
        return _guarded("", lambda: _print(f"dlreg {__version__}\n"))
    if argv[0] not in COMMANDS:
        hint = did_you_mean(argv[0], COMMANDS) or f" Allowed: {', '.join(COMMANDS)}."
        print(f"dlreg: there is no command {shown(argv[0])!r}.{hint}", file=sys.stderr)
        return 2
    return _guarded(f" {argv[0]}", lambda: _run(argv[0], argv[1:]))


def _print(text: str) -> int:
    print(text, end="")
    delivered()
    return 0


def _run(command: str, argv: list[str]) -> int:
    from importlib import import_module

    status: int = import_module(f"dlreg.commands.{command}").run(argv)
    if command not in (
        "train",
        "study",
        "tune",
        "ablate",
    ):  # these run something: whether they only printed is theirs to say
        delivered()
    return status


def _guarded(command: str, run: Callable[[], int]) -> int:
    """The exit status; what ends the command early is one line for each thing to mend."""
    try:
        return run()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"dlreg{command}: {shown(line, LONGEST)}", file=sys.stderr)
        return 2
    except OSError as error:  # a folder without permission, a disk without room
        if os.environ.get("DLREG_DEBUG"):
            raise
        what = f"{error.filename}: " if error.filename else ""
        print(f"dlreg{command}: {shown(f'{what}{error.strerror or error}', LONGEST)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted) as signal:
        print(f"dlreg{command}: interrupted; the same command continues", file=sys.stderr)
        return signal.exit_status if isinstance(signal, Interrupted) else 130


def _complete_names(command: str, prefix: str) -> None:
    """Print the studies, groups and run folders that a command takes and that begin so."""
    from dlreg.config.options import options
    from dlreg.config.schema import GROUPS

    groups = list(GROUPS) if command == "list" else []
    names = list(options("study")) if command in ("study", "table", "plot", "report") else groups
    folders = _folders(prefix) if command in ("table", "plot", "report", "predict", "surface") else []
    print("\n".join([*(name for name in names if name.startswith(prefix)), *folders]))


def _folders(prefix: str) -> list[str]:
    """Run folders that begin so, and, with a slash, the folders in which there may be some."""
    above, _, name = prefix.rpartition("/")
    try:
        inside = sorted(os.scandir(above or ("/" if prefix.startswith("/") else ".")), key=lambda entry: entry.name)
    except OSError:
        return []
    found = [e for e in inside if e.name.startswith(name) and not e.name.startswith(".") and e.is_dir()]
    runs = [os.path.exists(os.path.join(folder, "config.json")) for folder in found]
    start = prefix.removesuffix(name)
    return [f"{start}{folder.name}{'' if run else '/'}" for folder, run in zip(found, runs, strict=True)]


def _completion(argv: list[str]) -> list[str] | None:
    """Hydra completes `dlreg train`'s overrides; the first word and the other commands are completed here.

    Returns Hydra's arguments, or None when the answer was printed.
    """
    if not any(word.startswith("query=") for word in argv):
        return argv
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        prefix = words[1] if len(words) == 2 else ""
        print("\n".join(name for name in COMMANDS if name.startswith(prefix)))
        return None
    if words[1] not in ("train", "ablate", "show", "tune"):  # whose words are those of `train`
        _complete_names(words[1], "" if line.endswith(" ") else words[-1])
        return None
    os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]]) + (" " if line.endswith(" ") else "")
    for flag in ("-cd", "--config-dir"):
        if flag in words[:-1]:
            return [flag, words[words.index(flag) + 1], *argv]
    return argv
