"""What can be said of GPUs without one: no step of any option waits for the device, or mixes devices."""

import contextlib

import pytest
import torch
from conftest import EVERY_OPTION
from test_options import overrides
from torch.utils._python_dispatch import TorchDispatchMode

from dlreg.run import loop
from dlreg.run.experiment import Experiment
from dlreg.run.rehearse import rehearse

WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique",
    "unique_dim",
    "equal",
    "is_nonzero",
    "repeat_interleave.Tensor",
)


class Waits(TorchDispatchMode):
    """Notes each operation whose outcome the CPU must know: on a GPU it stops until the device is done."""

    def __init__(self, counters):
        super().__init__()
        self.counters, self.found = counters, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::")
        tensors = [a for a in args if isinstance(a, torch.Tensor)]
        if name.startswith(WAITS) and not all(t.data_ptr() in self.counters for t in tensors):
            self.found.append(name)
        if name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple):
            self.found += [
                f"{name} by a mask" for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)
            ]
        return func(*args, **(kwargs or {}))


# These decide by values in each step, as their algorithms do: a line search, a solved system, a chosen coordinate.
DECIDE = {"best_subset", "coordinate_descent", "lbfgs", "newton", "omp"}
# These draw small decisions on the CPU on purpose (`host_generator`, or a system solved there) and send them over.
ON_HOST = {"autoaugment", "color_jitter", "cutmix", "mixup", "perspective", "randaugment", "trivialaugment"}
ON_CPU = ("step", "mu_product")  # what torch's optimizers count with, which is never on a GPU
INSIDE = [(g, n) for g, n in EVERY_OPTION if g in ("model", "norm", "optimizer", "loss", "aug", "reg")]


@pytest.mark.parametrize(("group", "name"), INSIDE, ids=[f"{group}={name}" for group, name in INSIDE])
def test_a_step_neither_waits_for_the_device_nor_mixes_devices(group, name, settings, data_root, monkeypatch):
    """Each step of a rehearsal but the first, in which a technique may get ready.

    Meanwhile what is made without naming a device is on another one (meta), so that it meets the others with an error.
    """
    real, seen = loop.train_step, []

    def step(parts, x, y):
        states = parts.optimizer.state.values()
        counters = {s[key].data_ptr() for s in states for key in ON_CPU if isinstance(s.get(key), torch.Tensor)}
        mode = Waits(counters)
        with mode, torch.device("meta") if seen and name not in DECIDE | ON_HOST else contextlib.nullcontext():
            done = real(parts, x, y)
        seen.append(mode.found)
        return done

    monkeypatch.setattr(loop, "train_step", step)
    monkeypatch.setenv("DLREG_DEBUG", "1")
    experiment = Experiment.of(settings(*overrides(group, name, data_root)))
    rehearse(experiment.settings, experiment.data())
    assert len(seen) > 1
    assert any(seen[1:]) == (name in DECIDE), sorted({op for found in seen[1:] for op in found})
