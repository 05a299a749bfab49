"""Where runs go: every command takes every executor, and whatever becomes of a worker, every run is accounted for."""

import importlib.util
import sys
import types

import pytest

from dlreg.commands import where
from dlreg.config.compose import compose
from dlreg.errors import UserError
from dlreg.run.experiment import Experiment
from dlreg.run.result import read_all
from dlreg.study import executor, launcher
from dlreg.study.cells import Cell
from dlreg.study.workers import DIED, run_all

SMALL = ["model.hidden=[8]", "epochs=1", "data.train_size=128", "device=cpu", "outputs=outputs", "progress=false"]
STUDY = """
title: t
source: s
text: t
columns: [test_error]
baseline: none
budgets: {smoke: {text: t, seeds: [0, 1]}}
shared: ['model.hidden=[8]', epochs=1, data.train_size=128, device=cpu]
rows:
  - {label: none, overrides: [], published: {test_error: {value: 1.0}}}
  - {label: l2, overrides: [reg=l2]}
"""
KILLER = """
import os, signal
from pathlib import Path
from dlreg.reg.base import Regularizer

class Killer(Regularizer):
    '''As the system does when memory is short: once the run has begun, so not the process that tries a step first.'''
    def __init__(self):
        pass

    def gradient(self, model):
        if list(Path("outputs").glob("*killer*/config.json")):
            os.kill(os.getpid(), signal.SIGKILL)
"""
MANY = {
    "train": ["train", "-m", "reg=none,l2", "seed=0,1", "threads=1", *SMALL],
    "study": ["study", "own.yaml", "outputs=outputs", "progress=false"],
    "tune": ["tune", "reg=none,l2", "optimizer.lr=tag(tune,choice(0.1,0.2))", "seeds=0,1", *SMALL],
    "ablate": ["ablate", "reg=l2", "seeds=0,1", *SMALL],
}
joblib = pytest.mark.skipif(not importlib.util.find_spec("joblib"), reason="needs joblib")
BY_JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]  # in this process, so that a test is cheap


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(STUDY)


@pytest.fixture
def killer(tmp_path, monkeypatch):
    (tmp_path / "killer.py").write_text(KILLER)
    (tmp_path / "mine" / "reg").mkdir(parents=True)
    (tmp_path / "mine" / "reg" / "killer.yaml").write_text("# k\nkiller:\n  _target_: killer.Killer\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{where.__file__.split('/dlreg/commands')[0]}")
    monkeypatch.setenv("DLREG_PLUGINS", "killer")
    return ["--config-dir", "mine"]


@joblib
@pytest.mark.parametrize("command", MANY)
def test_every_command_goes_through_a_launcher_and_its_numbers_are_the_same(spoken, monkeypatch, command):
    asked = []
    real = launcher.Launched._launch
    monkeypatch.setattr(launcher.Launched, "_launch", lambda self, todo: asked.append(len(todo)) or real(self, todo))
    status, out, err = spoken(*MANY[command], *BY_JOBLIB, "--per-job", "9")
    assert status == 0, err
    assert sum(asked) >= 4
    assert "not comparable" not in out
    assert "Changed" not in out
    status, again, err = spoken(*MANY[command])
    assert status == 0
    assert "0 to do" in err
    assert [line for line in again.splitlines() if "%" in line] == [line for line in out.splitlines() if "%" in line]


@joblib
@pytest.mark.parametrize("how", [["--jobs", "2"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]], ids=str)
def test_a_worker_that_is_killed_costs_its_run_alone(spoken, killer, how):
    """The table, one line per run, exit status 1; nothing of "refused before any work"."""
    rows = "killer,none,l2" if how[0] == "--jobs" else "killer,none"
    words = [f"reg={rows}", "seed=0", "threads=1", *SMALL]
    status, out, err = spoken("train", "-m", *killer, *words, *how)
    assert status == 1, err
    assert f"[{len(rows.split(','))}/" in err
    results, _ = read_all([launcher.Path("outputs")])
    ended = {"+".join(r.config["reg"]) or "none": r.status for r in results}
    assert ended["killer"] == "interrupted", err
    if how[0] == "--jobs":
        assert (ended["none"], ended["l2"]) == ("done", "done")
    assert "reg=killer: failed: " in err
    assert "test error %" in out or "interrupted" in out


def test_a_worker_that_dies_is_replaced():
    found = dict(run_all(_die_at_two, range(6), [{}, {}]))
    assert found == {i: DIED if i == 2 else i * i for i in range(6)}


def test_what_a_job_raises_is_raised():
    with pytest.raises(UserError, match="as it was"):
        list(run_all(_raise, [1], [{}]))


def _die_at_two(item):
    import os
    import signal

    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def _raise(item):
    raise UserError("as it was")


def test_processes_take_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(executor.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def taken(*arguments):
        return [slot.get("CUDA_VISIBLE_DEVICES") for slot in executor.slots(*arguments)]

    assert taken(4, None, ["cuda", "cuda"]) == ["0", "1", "0", "1"]
    assert taken(1, 3, ["cuda"]) == ["0", "1"] * 3
    assert taken(4, 1, ["cuda"]) == ["0", "1"]
    assert taken(3, None, ["cpu"]) == [None] * 3
    assert taken(2, None, ["cuda:1"]) == [None] * 2  # chosen by hand: left alone
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-abc")
    assert taken(3, None, ["cuda"]) == ["5", "GPU-abc", "5"]
    monkeypatch.setattr(executor.torch.cuda, "device_count", lambda: 1)  # a name that is not there ends the list
    assert taken(2, None, ["cuda"]) == ["5", "5"]


def test_a_worker_has_the_environment_of_its_slot():
    slots = [{"CUDA_VISIBLE_DEVICES": "3"}]
    assert list(run_all(_visible, [0, 1], slots)) == [(0, "3"), (1, "3")]


def _visible(item):
    import os

    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_a_device_that_a_slot_chose_is_not_in_the_identity(settings):
    from dlreg.run.experiment import Experiment

    base = settings()
    ids = {Experiment(base.model_copy(update={"device": d})).run_id for d in ("cuda", "cuda:0", "cuda:3")}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["study", "own.yaml", "hydra/launcher=joblib", "--jobs", "2"], "give one of them"),
        (["train", "-m", "seed=0,1", "hydra/launcher=jobli"], "hydra/launcher"),
        (["study", "own.yaml", "hydra/launcher=jobli"], "hydra/launcher"),
        (["study", "own.yaml", "hydra/launcher=joblib", "hydra.launcher.n_jbs=2"], "n_jbs"),
        (["study", "own.yaml", "--per-job", "2"], "hydra/launcher=submitit_slurm"),
        (["study", "own.yaml", "--per-gpu", "2"], "needs runs on device=cuda"),
        (["train", "-m", "seed=0,1", "--jobs", "0"], "--jobs=0 must be at least 1"),
        (["train", "seed=0", "--jobs", "2"], "dlreg train -m"),
        (["train", "-m", "seed=0,1", "hydra/sweeper=basic"], "dlreg tune"),
        (["train", "-m", "seed=0,1", "hydra/sweeper=optuna"], "dlreg tune"),
    ],
    ids=str,
)
def test_refused_in_one_line_before_any_work(spoken, tmp_path, words, line):
    status, out, err = spoken(*words, *([] if words[0] == "study" else SMALL))
    assert (status, out) == (2, "")
    assert line in err
    assert len(err.splitlines()) == 1
    assert not list((tmp_path / "outputs").glob("*/result.json"))


def test_a_grid_is_told_before_it_is_run(spoken, tmp_path):
    status, out, err = spoken(*MANY["train"], "--dry-run", "--jobs", "2")
    assert (status, err) == (0, "")
    assert "4 runs: 0 finished, 4 to do, how long is known once one ran" in out
    assert not (tmp_path / "outputs").exists()
    assert spoken(*MANY["train"], "--jobs", "2")[0] == 0
    assert "4 runs: 4 finished, 0 to do" in spoken(*MANY["train"], "--dry-run")[1]


@pytest.mark.parametrize(
    ("target", "said"),
    [("SlurmLauncher", "scancel --me --name=dlreg"), ("LocalLauncher", "kill 17 18")],
)
def test_ctrl_c_says_that_cluster_jobs_go_on(capfd, tmp_path, monkeypatch, target, said):
    for number in ("17", "18"):
        (tmp_path / ".submitit" / number).mkdir(parents=True)
    told = type("C", (), {"launcher": {"_target_": f"hydra_plugins.hydra_submitit_launcher.{target}", "name": "dlreg"}})
    monkeypatch.setattr(launcher.HydraConfig, "get", staticmethod(lambda: told))
    launcher._tell_under_way("hydra_plugins.hydra_submitit_launcher.submitit_launcher", tmp_path)
    assert capfd.readouterr().err.strip().endswith(f"To stop them: {said}")
    launcher._tell_under_way("hydra_plugins.hydra_joblib_launcher.joblib_launcher", tmp_path)
    assert capfd.readouterr().err == ""


def test_a_sweep_rehearses_each_kind_of_run_once(spoken, monkeypatch):
    """And none of its runs does so again; what is run alone does."""
    rehearsed = []
    for place in ("dlreg.study.cells.rehearse", "dlreg.run.experiment.rehearse"):
        monkeypatch.setattr(place, lambda settings, data: rehearsed.append((list(settings.reg), settings.seed)))
    assert spoken("train", "-m", "reg=none,l2", "seed=1,2", *SMALL)[0] == 0
    assert rehearsed == [([], 0), (["l2"], 0)]
    assert spoken("train", "seed=3", *SMALL)[0] == 0
    assert rehearsed[2:] == [([], 3)]


def test_a_job_of_submitits_without_a_result_is_an_answer_of_its_own(monkeypatch):
    """Its launcher throws at the first such job, though others run, or wait to be run again after a preemption."""

    class Job:
        job_id, state, paths = "7_1", "OUT_OF_MEMORY", types.SimpleNamespace(stderr="7_1.err")

        def __init__(self, result):
            self.result = result

        def results(self):
            if self.result is None:
                raise RuntimeError("has not produced any output")
            return [self.result]

    monkeypatch.setitem(sys.modules, "submitit", types.SimpleNamespace(Job=Job))
    before = Job.results
    with launcher._patient():
        (killed,), ended = Job(None).results(), Job("as it was").results()
    assert Job.results is before
    assert (killed.status, ended) == (launcher.JobStatus.FAILED, ["as it was"])
    assert killed._return_value == "job 7_1 ended without a result (out_of_memory); see 7_1.err"


@pytest.mark.parametrize("threw", [True, False])
def test_what_was_never_begun_is_launched_again_only_if_the_launcher_gave_up_on_all(monkeypatch, threw):
    """A job that it answers for, one cancelled in the queue for instance, is not queued a second time."""
    cells = [Cell((f"seed={seed}",), Experiment.of(compose([*SMALL, f"seed={seed}"]))) for seed in (0, 1)]
    asked = []

    def launch(self, todo):
        asked.append(list(todo))
        if threw and len(asked) == 1:
            todo[0].experiment.folder.mkdir(parents=True)
            (todo[0].experiment.folder / ".claim-1").write_text('["token", "another machine", 1, ""]')  # begun
            raise launcher.GaveUp("TerminatedWorkerError: killed")
        return ["cancelled"] * len(todo)

    monkeypatch.setattr(launcher.Launched, "_launch", launch)
    found = list(launcher.Launched(())(cells))
    assert asked == ([cells, cells[1:]] if threw else [cells])
    assert [why for _, why in found] == ["TerminatedWorkerError: killed" if threw else "cancelled", "cancelled"]
