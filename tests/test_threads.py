"""Threads by the work of a step: counted by hand, and never by what else the machine does."""

import pytest
import torch
from results import result
from torch import nn

from dlreg.report.judge import compare
from dlreg.run import threads
from dlreg.run.experiment import Experiment
from dlreg.run.parts import make_model
from dlreg.run.threads import multiply_adds, set_threads


@pytest.fixture(autouse=True)
def _threads_are_left_alone():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("model=mlp", "model.hidden=[32,16]"), 64 * 32 + 32 * 16 + 16 * 10), (("model=linear",), 64 * 10)],
)
def test_of_a_net(settings, words, expected):
    made = settings(*words)
    data = Experiment.of(made).data()
    assert multiply_adds(make_model(made, data, 0), data.train.x[:1]) == expected


def test_of_convolutions():
    """Each weight at every place of the output; groups and strides are in the shapes."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 4, 1, groups=2), nn.Flatten(), nn.Linear(64, 5)
    )
    sample = torch.zeros(1, 3, 8, 8)
    assert multiply_adds(net, sample) == 4 * 4 * (8 * 3 * 9) + 4 * 4 * (4 * 4) + 64 * 5


@pytest.mark.parametrize(("asked", "share", "expected"), [("auto", 1e9, 1), ("auto", 64 * 10 * 32 / 3, 3), (2, 1e9, 2)])
def test_what_a_run_gets(settings, monkeypatch, asked, share, expected):
    """One thread for every share of the work, at most the machine's, unless the user says."""
    monkeypatch.setattr(threads, "MACHINE", 4)
    monkeypatch.setattr(threads, "SHARE", share)
    made = settings("model=linear", "batch_size=32", f"threads={asked}")
    set_threads(made, Experiment.of(made).data())
    assert torch.get_num_threads() == expected


def test_rows_may_differ_in_threads_and_the_runs_of_a_row_may_not():
    """As the number follows from the net; between runs of one row it means another machine."""

    def table(*threads_of):
        seeds = range(len(threads_of[0]))
        runs = [
            result(reg, seed, 2.0 + seed) for reg, own in zip(("none", "l2"), threads_of, strict=True) for seed in seeds
        ]
        for run, n in zip(runs, [n for own in threads_of for n in own], strict=True):
            run.fingerprint["threads"] = n
        return compare(runs).protocol.get("Warning", "")

    assert "threads" not in table((1, 1), (2, 2))
    assert "threads 1 and 2" in table((1, 2), (1, 2))
