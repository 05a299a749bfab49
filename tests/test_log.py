"""Trackers are told everything, change nothing of a run, and cannot end one."""

import csv
import importlib.machinery
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Silent

from dlreg.config.build import locate
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.config.schema import Settings
from dlreg.errors import UserError
from dlreg.log.base import Tracker
from dlreg.run import tracking
from dlreg.run.experiment import Experiment
from dlreg.run.reopen import settings_of
from dlreg.run.result import read

README = Path(__file__).resolve().parent.parent / "README.md"


class Recorder(Tracker):
    """Remembers all it was told, and fails where it is asked to."""

    def __init__(self, fails=""):
        self.fails, self.told = fails, []

    def _hear(self, moment, *what):
        self.told.append((moment, *what))
        if moment == self.fails:
            raise ConnectionError("no network")

    def begin(self, run):
        self._hear("begin", run)

    def epoch(self, row):
        self._hear("epoch", dict(row))
        row["train_loss"] = float("nan")  # it has a copy

    def end(self, status, metrics):
        self._hear("end", status, metrics)


@pytest.fixture
def recorded(settings, monkeypatch):
    """recorded(recorder, "reg=dropout", ...) -> Result of a run that the recorder observes."""

    def run(recorder, *overrides):
        monkeypatch.setattr("dlreg.run.experiment.make_trackers", lambda settings: {"recorder": recorder})
        return Experiment.of(settings(*overrides)).run(Silent())

    return run


def clockless(result):
    rows = [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in result.history]
    return rows, result.train, result.val, result.test


def test_all_is_told_and_nothing_is_changed(recorded, run):
    recorder = Recorder()
    seen = recorded(recorder)
    moments = [moment for moment, *_ in recorder.told]
    assert moments == ["begin", "epoch", "epoch", "end"]
    assert [row["epoch"] for _, row in recorder.told[1:3]] == [1, 2]
    begun, (_, status, metrics) = recorder.told[0][1], recorder.told[-1]
    assert begun.name == seen.run_id and begun.config["epochs"] == 2
    assert status == "done" and metrics["test_error"] == seen.test["last"]["error"]
    assert metrics["best_val_test_loss"] == seen.test["best_val"]["loss"] and metrics["seconds"] == seen.seconds
    assert not seen.remarks
    assert clockless(run("rerun=true")) == clockless(seen)


@pytest.mark.parametrize("moment", ["begin", "epoch", "end"])
def test_a_tracker_that_fails_is_a_remark(moment, recorded):
    recorder = Recorder(moment)
    result = recorded(recorder)
    assert result.status == "done"
    assert result.remarks == ["log=recorder failed: ConnectionError: no network"]
    assert read(Path(result.config["outputs"]) / result.run_id).remarks == result.remarks
    assert [m for m, *_ in recorder.told].count(moment) == 1  # it is told no more


def test_the_end_is_told_however_it_came(recorded):
    for words, status in ((["optimizer.lr=1e30"], "diverged"), ([], "interrupted")):
        recorder = Recorder()
        if status == "interrupted":
            recorder._hear = lambda moment, *what, r=recorder: (r.told.append((moment, *what)), interrupt(moment))
            with pytest.raises(KeyboardInterrupt):
                recorded(recorder, "seed=1")
        else:
            recorded(recorder, *words)
        assert recorder.told[-1] == ("end", status, {})


def interrupt(moment):
    if moment == "epoch":
        raise KeyboardInterrupt


def test_every_fit_of_a_committee_has_its_number(recorded):
    recorder = Recorder()
    recorded(recorder, "reg=ensemble", "reg.ensemble.k=2")
    assert [(row["fit"], row["epoch"]) for _, row in recorder.told[1:-1]] == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_no_part_of_what_a_run_is(settings, run):
    plain, logged = Experiment.of(settings()), Experiment.of(settings("log=csv"))
    assert plain.run_id == logged.run_id
    result = run("log=csv")
    old = {key: value for key, value in result.config.items() if key != "log"}  # as runs before there were trackers
    replace(result, config=old).write(logged.folder)
    assert plain.finished() and isinstance(settings_of(read(logged.folder)), Settings)


def test_csv_goes_on_in_the_same_file(settings):
    class Cut(Silent):
        def epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    three = settings("log=csv", "epochs=3")
    with pytest.raises(KeyboardInterrupt):
        Experiment.of(three).run(Cut())
    result = Experiment.of(three).run(Silent())
    with open(Experiment.of(three).folder / "history.csv", newline="") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    assert set(rows) == {1, 3}  # the second was trained, and the cut came before anybody was told
    for row in result.history:
        assert row["epoch"] == 2 or float(rows[row["epoch"]]["val_error"]) == row["val_error"]


def chosen(settings, name, *words):
    """As `settings`, which skips where the tracker's package is not installed."""
    return settings().model_copy(update={"log": compose([f"log={name}", *words]).log})


@pytest.mark.parametrize("name", sorted(set(options("log")) - {"none"}))
def test_what_is_not_installed_is_refused_before_any_work(name, settings, monkeypatch):
    experiment = Experiment.of(chosen(settings, name))
    needs = tracking.build("log", experiment.settings.log[name]).needs
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda package: None)
    if not needs:
        return
    with pytest.raises(UserError, match=rf"log={name} needs {needs}, .*pip install 'dlreg\[{needs}\]'"):
        experiment.run(Silent())
    assert not experiment.folder.exists()


def test_every_extra_that_is_named_exists():
    text = (README.parent / "pyproject.toml").read_text()
    for name in sorted(set(options("log")) - {"none"}):
        needs = locate("log", compose([f"log={name}"]).log[name]).needs
        assert not needs or re.search(rf"^{needs} = \[", text, re.MULTILINE)


def test_tensorboard_reads_what_was_written(settings):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    experiment = Experiment.of(settings("log=tensorboard"))
    result = experiment.run(Silent())
    assert not result.remarks
    events = EventAccumulator(str(experiment.folder)).Reload()
    assert [e.value for e in events.Scalars("val_error")] == pytest.approx([r["val_error"] for r in result.history])
    assert events.Scalars("final/test_error")[0].value == pytest.approx(result.test["last"]["error"])


class FakeWandb(types.ModuleType):
    """As much of wandb as the tracker calls, with wandb's own signatures."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.logged, self.summary, self.finished = [], {}, None

    def init(self, *, project, mode, id, name, dir, config, resume):
        self.began = {"project": project, "mode": mode, "id": id, "dir": dir, "resume": resume}
        return self

    def log(self, data):
        self.logged.append(data)

    def finish(self, exit_code=None):
        self.finished = exit_code


def test_wandb(settings, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    experiment = Experiment.of(chosen(settings, "wandb", "log.wandb.project=lecture"))
    result = experiment.run(Silent())
    assert not result.remarks
    assert fake.began == {"project": "lecture", "mode": "offline", "id": result.run_id,
                          "dir": str(experiment.folder), "resume": "allow"}  # fmt: skip
    assert [row["val_error"] for row in fake.logged] == [row["val_error"] for row in result.history]
    assert fake.summary["final/test_error"] == result.test["last"]["error"] and fake.finished == 0


def fake_mlflow(calls):
    """As much of mlflow as the tracker calls."""

    class Client:
        def __init__(self, uri):
            calls.append(("client", uri))

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return f"id of {name}"

        def create_run(self, experiment_id, run_name):
            calls.append(("run", experiment_id, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r"))

        def log_batch(self, run_id, params):
            assert len(params) <= 100
            calls.append(("params", dict(params)))

        def log_metric(self, run_id, key, value, step=None):
            calls.append(("metric", key, value, step))

        def set_tag(self, run_id, key, value):
            calls.append(("tag", key, value))

        def set_terminated(self, run_id, status):
            calls.append(("terminated", status))

    parent, entities, tracking_ = (types.ModuleType(n) for n in ("mlflow", "mlflow.entities", "mlflow.tracking"))
    parent.__spec__ = importlib.machinery.ModuleSpec("mlflow", None)
    entities.Param, tracking_.MlflowClient = lambda key, value: (key, value), Client
    return {"mlflow": parent, "mlflow.entities": entities, "mlflow.tracking": tracking_}


def test_mlflow(settings, monkeypatch):
    calls = []
    for name, module in fake_mlflow(calls).items():
        monkeypatch.setitem(sys.modules, name, module)
    result = Experiment.of(chosen(settings, "mlflow")).run(Silent())
    assert not result.remarks
    assert calls[:2] == [("client", None), ("run", "id of dlreg", result.run_id)]
    assert calls[2][1]["optimizer.lr"] == "0.1"
    assert ("metric", "val_error", result.history[1]["val_error"], 2) in calls
    assert ("metric", "final/test_error", result.test["last"]["error"], None) in calls
    assert calls[-1] == ("terminated", "FINISHED")
