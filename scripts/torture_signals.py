"""Signals at random instants: the run says so in one line, and the same command ends with the bits of a whole run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from torture_trials import Trials

TRAIN = ("train", "optimizer=adam", "reg=dropout", "epochs=40", "threads=1", "device=cpu")
SENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


def signals(trials: Trials, scale: float) -> None:
    """A run is sent a signal, and again, until it ends; then its weights are compared with those of a whole run."""
    expected = _weights(trials, "whole", [])
    for i in range(max(1, int(10 * scale))):
        found = _weights(trials, f"cut{i}", [trials.chance.choice(SENT) for _ in range(3)])
        if found != expected:
            trials.fault("other weights", f"cut{i}")


def _weights(trials: Trials, name: str, sent: list[signal.Signals]) -> bytes:
    """The weights of the run in folder `name`, once a start for each signal and one more have gone over it."""
    for number in [*sent, None]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dlreg", *TRAIN, f"outputs={name}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, text=True,
        )  # fmt: skip
        if number is not None:
            _sleep_until_started(Path(name), process)
            time.sleep(trials.chance.uniform(0, 0.5))
            os.killpg(process.pid, number)
        said = process.communicate(timeout=300)[1]
        if number is None or process.returncode == 0:  # it had ended before the signal came
            trials.ended["went to the end"] += 1
            if process.returncode != 0:
                trials.fault(f"status {process.returncode}", said)
        else:
            trials.ended[f"ended by {number.name}"] += 1
            lines = [line for line in said.splitlines() if not line.startswith("epoch ")]
            # By the signal itself, as every program, while Python loads or ends; a shell calls both 128 + number.
            if process.returncode not in (128 + number, -number) or len(lines) > 1 or "Traceback" in said:
                trials.fault(f"{number.name}: status {process.returncode}", said)
    return next(Path(name).glob("*/weights")).read_bytes()


def _sleep_until_started(folder: Path, process: subprocess.Popen[str]) -> None:
    """Until the run's folder is there: before that, Python itself is still loading."""
    while process.poll() is None and not list(folder.glob("*/.claim-*")):
        time.sleep(0.01)
