"""How often the state of a fit is kept: by the clock, for epochs may last milliseconds or minutes."""

import pytest
from conftest import Silent

from dlreg.run import fitter
from dlreg.run.experiment import Experiment


class Clock:
    """Each look at the time is `epoch` seconds after the one before."""

    def __init__(self, epoch):
        self.now, self.epoch = 0.0, epoch

    def monotonic(self):
        self.now += self.epoch
        return self.now


@pytest.mark.parametrize(("epoch", "kept"), [(0.0, []), (0.4, [2, 4, 6]), (1.5, [1, 2, 3, 4, 5, 6])])
def test_an_epoch_is_kept_when_a_second_of_work_would_be_lost(epoch, kept, settings, monkeypatch):
    found, real = [], fitter.CheckpointFile.save
    monkeypatch.setattr(fitter, "SPACING", 0.7)
    monkeypatch.setattr(fitter, "time", Clock(epoch))
    monkeypatch.setattr(
        fitter.CheckpointFile, "save", lambda self, state: (found.append(len(state["history"])), real(self, state))
    )
    Experiment.of(settings("epochs=6", "data.train_size=64")).run(Silent())
    assert found == kept
