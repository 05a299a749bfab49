"""Plants faults in the parts that decide about numbers, one at a time, and asks the tests about each.

scripts/mutate                       60 faults, drawn evenly over the files below
scripts/mutate --number 200 --seed 1
scripts/mutate --only report         faults of these files alone

A fault is killed if one of the file's tests fails, or does not end. It prints every survivor, and ends with 1 if more than one
in twenty survives. Minutes, not for every commit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from mutate_faults import Fault, faults

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 600  # seconds that the tests of one fault may take
TRAINING = ["test_train", "test_batches", "test_experiment", "test_identity"]
VERDICTS = ["test_stats", "test_verdicts", "test_contrasts", "test_images", "test_table"]
KEEPING = ["test_durable", "test_identity", "test_corrupt", "test_experiment"]
PARTS = {  # file -> the tests that answer for it
    "run/loop.py": TRAINING,
    "run/step.py": ["test_stack", *TRAINING],
    "run/stack.py": ["test_stack"],
    "run/batches.py": ["test_batches", "test_train"],
    "run/claim.py": ["test_claim"],
    "run/fitter.py": ["test_spacing", *TRAINING, "test_reg_training", "test_pretrain"],
    "run/evaluate.py": ["test_evaluate", *TRAINING],
    "reg/penalties.py": ["test_reg", "test_together"],
    "reg/maxnorm.py": ["test_reg", "test_together"],
    "reg/dropout.py": ["test_reg_noise", "test_together"],
    "reg/weight_decay.py": ["test_reg", "test_together", "test_optimizer", "test_optimizer_exact"],
    "report/stats.py": VERDICTS,
    "report/dunnett.py": VERDICTS,
    "report/contrasts.py": VERDICTS,
    "report/verdicts.py": VERDICTS,
    "report/images.py": VERDICTS,
    "report/comparable.py": [*VERDICTS, "test_identity"],
    "run/content.py": ["test_identity", "test_experiment"],
    "run/experiment.py": KEEPING,
    "run/result.py": KEEPING,
    "run/artifacts.py": [*KEEPING, "test_train", "test_bias_variance"],
    "durable.py": KEEPING,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TEXT", help="files whose path contains it")
    given = parser.parse_args()
    drawn = draw([name for name in PARTS if given.only in name], given.number, random.Random(given.seed))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "dlreg"
        shutil.copytree(
            ROOT, tree, ignore=shutil.ignore_patterns(".*", "outputs", "build", "*.egg-info", "__pycache__")
        )
        warm(tree)
        if broken := [tests for tests in {tuple(PARTS[name]) for name, _ in drawn} if passed(tree, tests) is not True]:
            raise SystemExit(f"without any fault: {broken[0]} fail")
        survivors = sum(not killed(tree, name, fault) for name, fault in drawn)
    print(f"{len(drawn)} faults, {len(drawn) - survivors} killed, {survivors} survived")
    return 1 if survivors > len(drawn) / 20 else 0


def draw(names: list[str], number: int, rng: random.Random) -> list[tuple[str, Fault]]:
    """As many faults of each file as of every other, as far as it has so many."""
    piles = []
    for name in names:
        found = faults((ROOT / "dlreg" / name).read_bytes())
        piles.append([(name, fault) for fault in rng.sample(found, len(found))])
    rounds = [pile[i] for i in range(max(map(len, piles))) for pile in piles if i < len(pile)]
    return sorted(rounds[:number])


def killed(tree: Path, name: str, fault: Fault) -> bool:
    """Plant it, run the file's tests, and mend it again."""
    path, started = tree / "dlreg" / name, time.monotonic()
    source = path.read_bytes()
    path.write_bytes(fault.planted(source))
    try:
        survived = passed(tree, PARTS[name]) is True
    finally:
        path.write_bytes(source)
    what = f"{source[fault.start : fault.end].decode()!r} -> {fault.new!r}"
    print(
        f"{'SURVIVED' if survived else 'killed':<9}{name}:{fault.line}  {what}  ({time.monotonic() - started:.0f} s)",
        flush=True,
    )
    return not survived


def warm(tree: Path) -> None:
    """Import once what every child needs, and nothing of dlreg."""
    sys.path[:0] = [str(tree), str(tree / "tests")]
    os.environ.update(PYTHONPATH=str(tree), OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    os.environ.setdefault("DLREG_TEST_DATA", str(ROOT.parent / "shared" / "data"))
    sys.dont_write_bytecode = True
    os.chdir(tree)
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401


def passed(tree: Path, tests: list[str] | tuple[str, ...]) -> bool | None:
    """Whether the tests pass, in a process of their own; None if they do not end."""
    child = os.fork()
    if child == 0:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        import pytest

        status = 3
        try:
            status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *[f"tests/{name}.py" for name in tests]]))
        finally:
            os._exit(status)
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.1)
    os.killpg(child, 9)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    sys.exit(main())
