"""SIGKILL at random instants of runs and of sweeps: what is there can be read, and the same command ends as if undisturbed."""

from __future__ import annotations

import os
import signal
import time

from torture_runs import OUTPUTS, fork, fresh, lost, same_in_the_end, train, undisturbed
from torture_trials import Trials

from dlreg.run.result import read_all

COMMANDS = {"run": ("epochs=30",), "sweep": ("-m", "seed=0,1,2", "epochs=5")}
SHARE = {"run": 0.7, "sweep": 0.3}  # of the kills


def kills(trials: Trials, scale: float) -> None:
    """Each command is killed again and again until it comes to its end; then from the start."""
    for name, words in COMMANDS.items():
        wanted, expected = max(1, round(200 * scale * SHARE[name])), undisturbed(*words)
        fresh()
        started = time.perf_counter()
        same_in_the_end(trials, words, expected, name)  # all is loaded now
        longest = time.perf_counter() - started
        while wanted > 0:
            fresh()
            while wanted > 0 and _killed(trials, words, trials.chance.uniform(0, longest)):
                wanted -= 1
                _look(trials, name)
            same_in_the_end(trials, words, expected, name)


def _killed(trials: Trials, words: tuple[str, ...], seconds: float) -> bool:
    """Whether the kill came before the end."""
    child = fork(lambda: train(*words))
    time.sleep(seconds)
    os.kill(child.pid, signal.SIGKILL)
    status, said = child.ended()
    trials.ended["killed" if status < 0 else "went to the end"] += 1
    if status not in (0, -signal.SIGKILL):
        trials.fault(f"status {status}", said)
    return status < 0


def _look(trials: Trials, name: str) -> None:
    """No folder that cannot be read, no result but of the whole run, no epoch lost."""
    results, unreadable = read_all([OUTPUTS] if OUTPUTS.exists() else [])
    strange, gone = [r.status for r in results if r.status not in ("done", "interrupted")], lost()
    if unreadable or strange or gone:
        trials.fault(f"unreadable {unreadable}, {strange}, lost {gone}", name)
