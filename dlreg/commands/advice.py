"""What makes sense after a run: the next command, or what to change when it diverged. Ready to be pasted into any shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from dlreg.config.options import options
from dlreg.config.schema import Settings
from dlreg.run.result import Result

COMPARED = (
    "reg",
    "aug",
    "optimizer",
    "schedule",
    "norm",
    "init",
    "loss",
    "model",
)  # what a run is asked about, in turn
PLAIN = {"optimizer": "sgd", "schedule": "constant", "init": "default", "loss": "cross_entropy", "model": "mlp"}
ONCE = ("seed", "rerun", "progress", "log")  # of a command line, what the next one does without


def next_commands(result: Result, overrides: Sequence[str], settings: Settings) -> list[str]:
    """What to type after a run that is done: what it chose against what runs without it, and a look at it."""
    words = [word for word in overrides if word.partition("=")[0].partition(".")[0] not in ONCE]
    chosen = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    group = next((g for g in COMPARED if chosen.get(g, PLAIN.get(g, "none")) != PLAIN.get(g, "none")), None)
    if group is None:
        axis, rest = "reg=none,dropout", words
    else:
        axis = f"{group}={PLAIN.get(group, 'none')},{chosen[group]}"
        rest = [word for word in words if word.partition("=")[0] != group]
    sweep = ["dlreg", "train", "-m", axis, *rest, "seed=0,1,2"]
    folder = f"{settings.outputs}/{result.run_id}"
    return [shlex.join(sweep), shlex.join(["dlreg", "report", folder, "-o", "run.html"])]


def after_divergence(settings: Settings) -> str:
    """What usually helps, of what this run does not do already."""
    advice = _slower(settings.optimizer)
    if not {"clip_norm", "clip_value"} & {*settings.reg}:
        stack = ",".join([*settings.reg, "clip_norm"])
        advice.append(f"'reg=[{stack}]'" if settings.reg else "reg=clip_norm")
    if not settings.schedule.get("warmup"):
        advice.append("schedule.warmup=2")
    if settings.norm["name"] == "none" and settings.data["normalize"] == "none":
        advice.append("data.normalize=standardize")
    return ", or ".join(advice)


def _slower(optimizer: Mapping[str, Any]) -> list[str]:
    """A tenth of the rate; in place of one that is out of all proportion, the rate that the option begins with."""
    rate, option = optimizer.get("lr"), options("optimizer").get(optimizer["name"])
    if not isinstance(rate, int | float):
        return []
    usual = OmegaConf.select(OmegaConf.load(option), "lr", default=rate) if option else rate
    return [f"optimizer.lr={rate / 10 if rate <= 100 * usual else usual:g} (now {rate:g})"]
