"""SIGKILL at random instants: nothing that was finished is lost, nothing unreadable is left, the end is the same to the bit."""

import io
import os
import random
import signal
import time

import pytest
import torch
from conftest import Silent, newest

from dlreg import durable
from dlreg.run import claim
from dlreg.run.experiment import Experiment
from dlreg.run.result import read, read_all

KILLS = 40


def clockless(history):
    return [{k: v for k, v in row.items() if "second" not in k} for row in history]


def in_a_child(settings):
    """Run in a fork of this warm process, so that a kill costs milliseconds and not an import of torch."""
    child = os.fork()
    if child == 0:
        try:
            Experiment.of(settings).run(Silent())
            os._exit(0)
        except claim.Busy:
            os._exit(3)
        except BaseException:
            os._exit(1)
    return child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    "words",
    [
        ("reg=[dropout,maxnorm]", "optimizer=adam"),
        ("model=lenet", "norm=batch", "aug=mixup", "schedule=cosine", "optimizer=momentum"),
    ],
    ids=["mlp", "conv"],
)
def test_random_kills(words, settings):
    base = settings().outputs
    whole = settings(*words, "epochs=40", f"outputs={base}/whole")
    expected = Experiment.of(whole).run(Silent())
    cut = settings(*words, "epochs=40", f"outputs={base}/cut")
    folder = Experiment.of(cut).folder
    moments, kills, epochs, status, done = random.Random(0), 0, 0, None, False
    while status != 0:
        child = in_a_child(cut)
        if kills < KILLS:
            time.sleep(moments.uniform(0.01, 0.25))
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 3:  # killed between the name of its claim and the content: who it was, only time can tell
            assert not claim.last(folder).token
            claim.expel(folder, claim.last(folder))
            continue
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        results, unreadable = read_all([folder])
        assert not unreadable
        if status:
            found = [r.status for r in results]
            assert found == ["done"] if done else found in ([], ["interrupted"], ["done"])
            done = found == ["done"]  # the kill came after the result was written, which stays
            content = newest(folder / "checkpoint-0")
            if content:
                saved = torch.load(io.BytesIO(content), weights_only=True)
                assert len(saved["fit"]["history"]) >= epochs
                epochs = len(saved["fit"]["history"])
        elif kills < 5:  # this machine is fast: cut a fresh run again
            for path in folder.iterdir():
                path.unlink()
            epochs, status, done = 0, None, False
    found = read(folder)
    assert found.test == expected.test
    assert clockless(found.history) == clockless(expected.history)
    left = [durable.read_listed(Experiment.of(s).folder, "weights") for s in (whole, cut)]
    assert left[0] == left[1]
    assert not list(folder.glob("*.tmp"))
