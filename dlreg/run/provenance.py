"""Where a result comes from: versions, the commit, and what besides the config decides its bits."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path
from typing import Any

import hydra
import numpy
import torch

from dlreg import __version__
from dlreg.config.schema import Settings


def fingerprint(settings: Settings) -> dict[str, Any]:
    """What besides the config decides the bits of a result."""
    cuda = settings.device.startswith("cuda")
    return {
        "torch": str(torch.__version__),  # a subclass of str, which a weights-only load refuses
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(settings.device) if cuda else settings.device,
    }


def versions() -> dict[str, str]:
    """Of dlreg, Python and the libraries that matter to a number."""
    parts = {"torch": torch, "numpy": numpy, "hydra": hydra}
    found = {name: str(module.__version__) for name, module in parts.items()}
    return {"dlreg": __version__, "python": platform.python_version(), **found}


@functools.cache
def git_state() -> dict[str, Any] | None:
    """The commit of the dlreg checkout that ran, and whether it had changes; None outside a checkout."""
    top = Path(__file__).resolve().parents[2]
    if not (top / ".git").exists():
        return None
    command = ["git", "-C", str(top), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), None)
    return {"commit": commit, "changed": any(not line.startswith("#") for line in lines)}
