"""Median stopping: the rule, its notes, resumption, workers, and that it does nothing unless it is asked for."""

import contextlib
import json
import math
import shutil

import numpy as np
import pytest
from conftest import Silent
from test_plan import STUDY, make  # noqa: F401

from dlreg.errors import Interrupted, UserError
from dlreg.report.metrics import JUDGED
from dlreg.study import pruning
from dlreg.study.execute import run
from dlreg.study.executor import Executor
from dlreg.study.file import load
from dlreg.study.plan import Request, plan
from dlreg.study.pruning import LEAST, NOTE, Cut, bar, noted
from dlreg.study.tabulate import table
from dlreg.study.tuning import COUNTERPARTS, ERROR

RATES = [0.5, 0.4, 0.3, 0.2, 0.1, 1e-5, 0.25]  # one after the other: the sixth never learns
TUNED = STUDY.replace("reg=dropout]", f"reg=dropout], tune: {{optimizer.lr: {RATES}}}").replace(
    "[epochs=1], seeds: [0, 1]", "[epochs=4], seeds: [0]"
)
PRUNED = TUNED.replace("baseline: none", "baseline: none\nprune: true")


def reference(curve, others, epochs):
    """After which epoch a curve is cut, written out; None if never."""
    for t in range(1, epochs):
        if t < epochs / 4 or len(others) < 5:
            continue
        reached = sorted(min(other[s] for s in range(min(t, len(other)))) for other in others)
        half = len(reached) // 2
        middle = reached[half] if len(reached) % 2 else (reached[half - 1] + reached[half]) / 2
        if min(curve[:t]) > middle:
            return t
    return None


@pytest.mark.parametrize("epochs", [1, 2, 4, 7, 20])
def test_the_rule_is_the_one_written_out(epochs):
    rng = np.random.default_rng(epochs)
    cut = 0
    for _ in range(200):
        n = int(rng.integers(0, 9))
        others = [rng.random(int(rng.integers(1, epochs + 1))).round(1).tolist() for _ in range(n)]  # ties, early stops
        curve = rng.random(epochs).round(1).tolist()
        bars = {t: bar(others, t, epochs) for t in range(1, epochs + 1)}
        first = next((t for t, most in bars.items() if most is not None and min(curve[:t]) > most), None)
        assert first == reference(curve, others, epochs)
        cut += first is not None
    assert (cut > 0) is (epochs > 1)


def test_equal_to_the_median_is_not_worse_and_few_decide_nothing():
    same = [[0.5, 0.4]] * LEAST
    assert bar(same, 1, 4) == 0.5 and bar(same[1:], 1, 4) is None
    assert bar(same, 1, 5) is None and bar(same, 4, 4) is None  # before a quarter, and at the end


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """What the study leaves with pruning."""
    top = tmp_path_factory.mktemp("pruned")
    (top / "mine.yaml").write_text(PRUNED)
    with contextlib.chdir(top):
        run(plan(Request(top / "mine.yaml", "smoke")), Executor())
    return top / "outputs"


@pytest.fixture
def pruned(folders, make, tmp_path):  # noqa: F811
    """The study that was run with pruning, with its folders to do harm to."""
    shutil.copytree(folders, tmp_path / "outputs")
    return make(PRUNED)


def dropout(planned):
    return planned.rows[1]


def test_what_is_behind_is_cut_noted_and_never_run_again(pruned, make, capfd):  # noqa: F811
    trials = dropout(pruned).trials
    assert trials[5].cut and not any(trial.cut for trial in trials[:5])
    folder = trials[5].cells[0].experiment.folder
    note = noted(folder, "val_error")
    curves = [t.cells[0].experiment.finished().history for t in trials[:5]]
    assert note.median == np.median([min(row["val_error"] for row in rows[: note.epoch]) for rows in curves])
    assert note.score > note.median and note.finished == 5 and (note.epoch, note.epochs) == (1, 4)
    assert (folder / "checkpoint-0").exists() and trials[5].cells[0].experiment.result().message == str(note)
    assert len(pruned.cells) == 2 and dropout(pruned).chosen and not any(cell.watch for cell in pruned.cells)
    capfd.readouterr()
    again = run(make(PRUNED), Executor())
    assert "7 runs: 7 finished before, 0 to do" in capfd.readouterr().err
    assert dropout(again).chosen == dropout(pruned).chosen


def test_the_footer_counts_them_and_the_curve_has_them_as_infinite(pruned):
    found = table(pruned)
    cut = [trial.cut for trial in dropout(pruned).trials]
    spared = sum(4 - note.epoch for trial in dropout(pruned).trials for note in trial._notes)
    assert f"7 settings ({sum(cut)} cut by the median rule: {spared} of 28 epochs spared)" in found.protocol["Tuning"]
    assert found.rows[0].tuning is None and np.isinf(found.rows[1].tuning.scores).tolist() == cut
    curve = found.rows[1].tuning.best_of
    assert [math.isinf(value) for value in curve] == [n <= sum(cut) for n in range(1, 8)]
    assert found.protocol["Runs"] == "2 planned = 2 done"


def test_without_it_nothing_is_cut_and_what_was_goes_on_from_its_checkpoint(pruned, make, tmp_path):  # noqa: F811
    cut = [trial.cells[0].experiment for trial in dropout(pruned).trials if trial.cut]
    told = []

    class Listening(Silent):
        def epoch(self, row):
            told.append(row["epoch"])

    assert cut[0].run(Listening()).status == "done" and told == [2, 3, 4]
    assert noted(cut[0].folder, "val_error") is None  # its result counts, with pruning as well
    assert not dropout(make(PRUNED)).trials[5].cut
    done = run(make(TUNED), Executor())
    assert all(len(trial.results) == 1 and not trial.cut for trial in dropout(done).trials)
    assert "cut" not in table(done).protocol["Tuning"]
    plain = make(TUNED, changes=["outputs=other"])
    assert plain.trial_cells[5].experiment.run(Silent()).val == cut[0].finished().val  # as if it had never been cut
    assert not (plain.trial_cells[5].experiment.folder / NOTE).exists()


def test_a_run_that_goes_on_is_judged_by_all_its_epochs(pruned, make, monkeypatch):  # noqa: F811
    """Interrupted where it stood well, it is not cut for what came after."""
    cell = dropout(pruned).trials[5].cells[0]
    folder, history = cell.experiment.folder, [{"val_error": 0.01, "seconds": 1.0}, {"val_error": 0.9, "seconds": 1.0}]
    monkeypatch.setattr(pruning, "first_history", lambda of: history if of == folder else [])
    cell.watch.over(Silent(), folder, 4).epoch({"epoch": 2, **history[1]})
    history[0]["val_error"] = 0.9
    with pytest.raises(Cut):
        cell.watch.over(Silent(), folder, 4).epoch({"epoch": 2, **history[1]})


def test_a_signal_is_no_cut(make, monkeypatch):  # noqa: F811
    cell = make(PRUNED).trial_cells[0]

    class Signalled(Silent):
        def epoch(self, row):
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        cell.run(Signalled())
    assert not cell.cut and cell.experiment.result().message == "the same command continues it"


@pytest.mark.parametrize("damage", ["", "{}", '{"seal": "0"}'])
def test_a_damaged_note_and_one_of_another_number_cut_nothing(pruned, damage):
    cell = dropout(pruned).trials[5].cells[0]
    path = cell.experiment.folder / NOTE
    assert cell.cut and noted(path.parent, "val_mse") is None
    path.write_text(damage)
    assert not cell.cut and not cell.over


def test_one_tuning_seed_that_is_cut_takes_the_trial_out(pruned, make):  # noqa: F811
    two = PRUNED.replace("prune: true", "prune: true\ntune_seeds: [1000, 1001]")
    done = run(make(two), Executor())
    trial = dropout(done).trials[5]
    assert trial.cut and trial.finished and done.criterion.score(trial) is None
    assert not (trial.cells[1].experiment.folder / "config.json").exists()  # not even begun
    assert trial.epochs == (8, 7)


def test_workers_cut_as_well(pruned):
    cells = [dropout(pruned).trials[5].cells[0], pruned.cells[0]]  # a trial that is behind, and a run that is reported
    for cell in cells:
        shutil.rmtree(cell.experiment.folder)
    shown = {id(cell): found.status for cell, found in Executor(jobs=2)(cells)}
    assert [shown[id(cell)] for cell in cells] == ["interrupted", "done"]
    assert [cell.cut for cell in cells] == [True, False]


@pytest.mark.parametrize("metric", JUDGED)
def test_what_chooses_is_followed_or_refused(tmp_path, monkeypatch, metric):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(PRUNED)
    study = load(tmp_path / "mine.yaml").model_copy(update={"columns": [metric]})
    asked = Request(tmp_path / "mine.yaml", "smoke", study=study)
    split, key, _ = COUNTERPARTS.get(metric, ERROR)
    if split == "val" and key in ("error", "mse"):
        assert {cell.watch.column for cell in plan(asked).trial_cells} == {f"val_{key}"}
        return
    with pytest.raises(UserError, match="prune=true needs a number that each epoch has"):
        plan(asked)


WORDS = ("tune", "reg=none,dropout", "optimizer.lr=tag(log,interval(0.01,1))", "data.train_size=128", "model.hidden=[8]",
         "epochs=1", "device=cpu", "trials=2")  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*WORDS, "prune=yes"), "prune=yes must be true or false"),
        ((*WORDS, "prune=true", "data.val_size=0"), "data.val_size=0 leaves none"),
        ((*WORDS, "prune=true", "--columns", "ece"), "validation ECE chooses"),
        ((*WORDS, "prune=true", "--columns", "train_loss"), "training loss chooses"),
        (("study", "speed", "prune=true"), "no row tunes anything"),
    ],
)
def test_refusals(spoken, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    status, out, err = spoken(*words)
    assert status == 2 and says in err and out == "" and len(err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_the_word_reaches_the_plan_and_is_kept_in_the_study(spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert spoken(*WORDS, "seeds=1", "prune=true")[0] == 0
    (kept,) = (tmp_path / "outputs" / ".studies").glob("*.yaml")
    assert "prune: true" in kept.read_text()
    content = json.loads(spoken("table", str(kept), "--format", "json")[1])
    assert [len(row["tuning"]["trials"]) for row in content["rows"]] == [2, 2]
