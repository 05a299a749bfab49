"""What a hostile world does to dlreg: minutes, not for every commit. A short form of it is in the tests.

scripts/torture                      every section
scripts/torture values yaml          these alone
scripts/torture --scale 0.1          a tenth of the trials
scripts/torture --seed 1             other trials

It prints one line of figures per section, each fault below it, and ends with 1 if there was a fault.
Ctrl-C ends a section and prints what it came to.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import torture_concurrency
import torture_damage
import torture_disk
import torture_input
import torture_kills
import torture_signals
from torture_trials import Trials

SECTIONS = {  # name -> section(trials, scale): it makes its trials and counts them
    "values": torture_input.values,
    "lines": torture_input.lines,
    "yaml": torture_input.yaml,
    "signals": torture_signals.signals,
    "kills": torture_kills.kills,
    "crashes": torture_disk.crashes,
    "full": torture_disk.full,
    "damage": torture_damage.damage,
    "concurrency": torture_concurrency.concurrency,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"any of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="how many trials, as a multiple of the full number")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if strangers := set(given.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(strangers))}; allowed: {', '.join(SECTIONS)}")
    faults = 0
    for name in given.sections or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            trials, started = Trials(random.Random(f"{given.seed} {name}"), Path(folder)), time.perf_counter()
            try:
                SECTIONS[name](trials, given.scale)
            except KeyboardInterrupt:
                trials.ended["stopped by Ctrl-C"] += 1
            os.chdir("/")
        print(f"{name:<12}{trials}  ({time.perf_counter() - started:.0f} s)", flush=True)
        for fault in trials.faults[:10]:
            print(f"    {fault}")
        faults += len(trials.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
