"""Several processes on one folder: the work is shared, every run is done once, and nobody waits for the dead."""

import os
import signal
import time

import pytest
from conftest import Silent

from dlreg.cli import main
from dlreg.config.compose import compose
from dlreg.run import claim
from dlreg.run.claim import Claim, Watch
from dlreg.run.experiment import Experiment
from dlreg.run.result import read_all
from dlreg.study import cells as cells_
from dlreg.study.cells import Cell, run_cells
from dlreg.study.executor import Executor

SMALL = [
    "model.hidden=[8]",
    "epochs=1",
    "data.train_size=128",
    "device=cpu",
    "threads=1",
    "outputs=outputs",
    "progress=false",
]
MANY = {
    "train": ["train", "-m", "seed=0,1", *SMALL],
    "study": ["study", "{file}", "seeds=0,1", "outputs=outputs", "progress=false"],
    "tune": ["tune", "optimizer.lr=tag(tune,choice(0.1,0.2))", "seeds=0,1", *SMALL[:-3], *SMALL[-2:]],
    "ablate": ["ablate", "reg=dropout", "seeds=0,1", *SMALL[:-3], *SMALL[-2:]],
}
STUDY = """
title: t
source: s
text: t
baseline: none
budgets: {smoke: {text: t, seeds: [0]}}
rows:
  - {label: none, overrides: ['model.hidden=[8]', epochs=1, data.train_size=128, device=cpu]}
"""
forking = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claim, "POLL", 0.02)


def first_held(monkeypatch):
    """The run that a command begins with is in another process's hand, until the command has nothing else to do."""
    held = []
    shared, free = cells_._shared, Watch.free

    def sharing(todo, launch):
        if not held:
            held.append(Claim(todo[0].experiment.folder).__enter__())
        return shared(todo, launch)

    def freed(self, folder):
        held[0].__exit__()
        return free(self, folder)

    monkeypatch.setattr(cells_, "_shared", sharing)
    monkeypatch.setattr(Watch, "free", freed)


@pytest.mark.parametrize("command", MANY)
def test_a_run_in_another_hand_is_come_back_to(spoken, monkeypatch, tmp_path, command):
    (tmp_path / "own.yaml").write_text(STUDY)
    first_held(monkeypatch)
    status, _, err = spoken(*(word.format(file=tmp_path / "own.yaml") for word in MANY[command]))
    assert status == 0, err
    assert "1 running elsewhere" in err
    assert "failed" not in err
    found, unreadable = read_all([tmp_path / "outputs"])
    assert {r.status for r in found} == {"done"} and not unreadable


def test_what_another_process_ends_is_its_result_here(spoken, monkeypatch):
    experiments = [Experiment.of(compose([*SMALL, f"seed={seed}"])) for seed in (0, 1)]
    real, once = Watch.free, []

    def free(self, folder):
        if not once:  # while this process waits, the other ends the run
            once.append(owner.__exit__())
            experiments[0].run(Silent())
        return real(self, folder)

    monkeypatch.setattr(Watch, "free", free)
    with Claim(experiments[0].folder) as owner:
        status, _, err = spoken(*MANY["train"])
    assert status == 0, err
    assert "[2/2] seed=0: " in err
    assert "2 done" in err


@forking
def test_processes_share_one_folder_though_some_are_killed(tmp_path):
    """Planned = done once, none done twice: a result is published by exactly one process."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    base = Experiment.of(
        compose([*SMALL, "epochs=4"][1:] if False else [w for w in SMALL if w != "epochs=1"] + ["epochs=4"])
    )
    planned = [Cell((f"seed={seed}",), base.with_seed(seed)) for seed in range(12)]
    published = tmp_path / "published"

    def work():
        real = Claim.publish

        def publish(self, content):
            real(self, content)
            with open(published, "a") as file:
                file.write(f"{self.folder.name}\n")

        Claim.publish = publish
        run_cells(planned, Executor())

    def fork():
        child = os.fork()
        if child == 0:
            os.close(2)
            os.open(os.devnull, os.O_WRONLY)
            try:
                work()
                os._exit(0)
            except BaseException:
                os._exit(1)
        return child

    planned[0].experiment.data()
    doomed, children = [fork(), fork()], [fork(), fork()]
    for child in doomed:
        time.sleep(0.15)
        os.kill(child, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in (*doomed, *children)]
    assert codes[2:] == [0, 0]
    done = published.read_text().split()
    assert sorted(done) == sorted(cell.experiment.run_id for cell in planned)
    assert {r.status for r in read_all([tmp_path / "outputs"])[0]} == {"done"}


def test_one_process_one_line_if_the_other_is_alive(capfd):
    experiment = Experiment.of(compose([*SMALL]))
    with Claim(experiment.folder):
        assert main(["train", *SMALL]) == 2
    assert "in use: another process runs this very experiment" in capfd.readouterr().err


def test_a_single_run_takes_over_from_a_machine_that_is_silent(capfd, monkeypatch):
    experiment = Experiment.of(compose([*SMALL]))
    monkeypatch.setattr(claim, "STALE", 0.2)
    owner = Claim(experiment.folder).__enter__()
    monkeypatch.setattr(claim, "_machine", lambda: "another")
    assert main(["train", *SMALL]) == 0, capfd.readouterr().err
    owner.over.set()
