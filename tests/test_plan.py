"""From a study's file to its runs to its table: planned, run once, accounted for, tuned on validation."""

import json
import shutil
from collections import Counter

import pytest
from results import result as fake

from dlreg import durable
from dlreg.commands import words
from dlreg.errors import UserError
from dlreg.report.sweep import along
from dlreg.run.result import Result, read_all
from dlreg.study.execute import estimate, run
from dlreg.study.executor import Executor
from dlreg.study.file import find, load, state, studies
from dlreg.study.notes import record
from dlreg.study.overrides import layered, over_rows, told
from dlreg.study.plan import Request, plan
from dlreg.study.tabulate import _label, table, wanted

STUDY = """
title: two rows
source: a test
text: some text.
published: a net of its own
baseline: none
shared: [model=mlp, "model.hidden=[$width]", optimizer.lr=0.1, data.train_size=128, device=cpu]
rows:
  - {label: none, overrides: [reg=none], published: {test_error: 3}}
  - {label: dropout, overrides: [reg=dropout], published: {test_error: {value: 2, why_not: another unit}}, note: a note}
budgets:
  smoke: {text: small., overrides: [epochs=1], seeds: [0, 1], run_seconds: 2, values: {width: 8}, why_not: too small}
  laptop: {text: bigger., overrides: [epochs=2], seeds: [0], run_seconds: 4, values: {width: 16}}
"""
TUNED = STUDY.replace("reg=dropout]", "reg=dropout], tune: {optimizer.lr: [0.1, 0.5]}")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """make(text, ...) -> the plan of a study file with that text, its runs in a fresh folder."""
    monkeypatch.chdir(tmp_path)

    def planned(text=STUDY, budget="smoke", seeds=None, changes=(), rows=()):
        (tmp_path / "mine.yaml").write_text(text)
        return plan(Request(tmp_path / "mine.yaml", budget, seeds, changes, rows))

    return planned


def counts(table):
    total = Counter()
    for row in table.rows:
        total.update(row.status)
    return total


def test_cells_are_paired_by_seed_and_have_one_thread(make):
    planned = make()
    assert [cell.overrides[-1] for cell in planned.cells] == ["seed=0", "seed=1"] * 2
    assert {cell.experiment.settings.threads for cell in planned.cells} == {1}
    assert {cell.experiment.settings.model["hidden"][0] for cell in planned.cells} == {8}
    assert {cell.experiment.settings.threads for cell in make(changes=["threads=2"]).cells} == {2}
    assert len({cell.experiment.folder for cell in planned.cells}) == 4


def test_a_change_inside_an_option_applies_to_the_rows_that_chose_it(make):
    none, _, dropout, _ = make(changes=["reg.dropout.p=0.25", "optimizer=adam", "optimizer.eps=1e-3"]).cells
    assert none.experiment.settings.reg == {} and dropout.experiment.settings.reg["dropout"]["p"] == 0.25
    assert none.experiment.settings.optimizer["eps"] == dropout.experiment.settings.optimizer["eps"] == 1e-3
    for wrong, hint in (("reg.dropout.q=1", "reg.dropout.p"), ("reg.dropuot.p=1", "reg.dropout.p")):
        with pytest.raises(UserError, match=f"no row of this study has such a key. Did you mean {hint}"):
            make(changes=[wrong])


def test_run_table_and_run_again(make, capfd):
    planned = run(make(), Executor())
    found = table(planned)
    assert [row.name for row in found.rows] == ["none", "dropout"] and found.rows[0].baseline
    assert counts(found) == {"done": 4}
    assert found.protocol["Runs"] == "4 planned = 4 done"
    before = {
        cell.experiment.folder: (cell.experiment.folder / "result.json").stat().st_mtime_ns for cell in planned.cells
    }
    capfd.readouterr()
    run(make(), Executor())
    assert "4 finished before, 0 to do" in capfd.readouterr().err
    assert before == {
        cell.experiment.folder: (cell.experiment.folder / "result.json").stat().st_mtime_ns for cell in planned.cells
    }
    more = make(seeds=[0, 1, 2])
    assert counts(table(more)) == {"done": 4, "missing": 2}
    assert estimate(more, [c for c in more.cells if c.present() is None]) < 2  # measured, not as stated


def test_jobs_give_the_same_bits(make):
    serial = run(make(changes=["outputs=serial"]), Executor())
    parallel = run(make(changes=["outputs=parallel"]), Executor(jobs=2))
    for a, b in zip(serial.cells, parallel.cells, strict=True):
        one, two = a.experiment.result(), b.experiment.result()
        assert one.test == two.test and one.run_id == two.run_id
        assert [row["val_loss"] for row in one.history] == [row["val_loss"] for row in two.history]
    assert "Warning" not in table(parallel).protocol


def test_every_planned_run_is_accounted_for(make):
    """planned = done + diverged + failed + interrupted + missing, whatever lies in the folders."""
    planned = make(seeds=list(range(6)))
    kinds = ["done", "diverged", "failed", "interrupted", "killed", "missing"]
    for cell, kind in zip(planned.cells, kinds * 2, strict=True):
        folder = cell.experiment.folder
        if kind == "missing":
            continue
        folder.mkdir(parents=True)
        durable.write_json(folder / "config.json", cell.experiment.settings.model_dump())
        if kind != "killed":
            found = fake(status="done") if kind == "done" else fake(status=kind)
            Result(**{**found.__dict__, "run_id": folder.name, "config": cell.experiment.settings.model_dump()}).write(
                folder
            )
    shown = table(planned)
    assert counts(shown) == {"done": 2, "diverged": 2, "failed": 2, "interrupted": 4, "missing": 2}
    assert shown.protocol["Runs"].startswith("12 planned = ")
    (planned.cells[0].experiment.folder / "result.json").write_text("{torn")
    assert counts(table(planned))["interrupted"] == 5


def test_published_values_and_why_they_are_not_comparable(make):
    rows = table(make()).rows
    assert rows[0].published["test_error"].why_not == "too small"
    assert rows[1].published["test_error"].why_not == "another unit; too small"
    assert table(make(budget="laptop")).rows[0].published["test_error"].why_not is None
    changed = table(make(budget="laptop", changes=["optimizer=adam", "outputs=there"]))
    assert changed.rows[0].published["test_error"].why_not == "changed on the command line: optimizer=adam"


def test_tuning_is_on_validation_and_on_seeds_that_are_not_reported(make):
    planned = make(TUNED)
    assert len(planned.trial_cells) == 2 and not planned.rows[1].cells
    assert {cell.experiment.settings.seed for cell in planned.trial_cells} == {1000}
    assert counts(table(planned)) == {"missing": 4}
    done = run(planned, Executor())
    trials = {cells[0].overrides[-2]: cells[0].experiment.result() for _, cells in done.rows[1].trials}
    best = min(trials, key=lambda word: (trials[word].val["last"]["error"], trials[word].val["last"]["loss"]))
    assert done.rows[1].chosen == (best,)
    assert all(best in cell.overrides for cell in done.rows[1].cells)
    tuning = table(done).protocol["Tuning"]
    assert tuning.startswith("UNEQUAL") and f"2 settings, chosen {best}" in tuning
    assert "The trials took" in tuning and "which Budget leaves out" in tuning
    with pytest.raises(UserError, match="tuning seed"):
        make(TUNED, seeds=[0, 1000])


def test_a_diverged_setting_is_never_chosen(make):
    planned = make(TUNED)
    for (_, (cell,)), status in zip(planned.rows[1].trials, ("diverged", "done"), strict=True):
        cell.experiment.folder.mkdir(parents=True)
        found = fake(status=status)
        Result(
            **{**found.__dict__, "run_id": cell.experiment.folder.name, "config": cell.experiment.settings.model_dump()}
        ).write(cell.experiment.folder)
    assert planned.settled().rows[1].chosen == ("optimizer.lr=0.5",)


SHARED = ["data=mnist", "data.val_size=50", "model=mlp", "model.hidden=[8]", "optimizer=momentum", "optimizer.lr=0.3"]
SIZE, HIDDEN, RATE = SHARED[1::2]


@pytest.mark.parametrize(
    ("budget", "row", "changes", "kept", "lines"),
    [
        ([], [], [], {SIZE, HIDDEN, RATE}, []),
        (["data=digits"], [], [], {SIZE, HIDDEN, RATE}, []),  # the new option has the key as well
        (["data=digits", "data.val_size=9"], [], [], {HIDDEN, RATE}, []),
        (["optimizer=adam", "model=maxout"], [], [], {SIZE, HIDDEN, RATE}, []),
        ([], ["optimizer=adam"], [], {SIZE, HIDDEN, RATE}, []),
        ([], ["optimizer.lr=0.2"], ["optimizer=adam"], {SIZE, HIDDEN}, [f"{RATE} holds with optimizer=adam"]),
        ([], [], ["optimizer=adam"], {SIZE, HIDDEN, RATE}, [f"{RATE} holds with optimizer=adam too"]),
        ([], [], ["optimizer=adam", "optimizer.lr=1"], {SIZE, HIDDEN}, []),
        ([], ["model=linear"], [], {SIZE, RATE}, [f"{HIDDEN} is left out of 'mine': the option"]),
        ([], [], ["model=linear"], {SIZE, RATE}, [f"{HIDDEN} is left out of every row: the option"]),
    ],
)  # fmt: skip
def test_a_shared_value_holds_where_the_option_chosen_has_its_key(budget, row, changes, kept, lines):
    base = layered(SHARED, budget)
    rows = dict(zip(("mine", "other"), over_rows(base, [row, []], changes, ()), strict=True))
    assert {SIZE, HIDDEN, RATE} & set(rows["mine"]) == kept
    found = told(base, rows, changes)
    assert len(found) == len(lines) and all(map(str.startswith, found, lines))


@pytest.mark.parametrize(
    ("old", "new"),
    [("smoke: {text: small., overrides: [", "smoke: {text: small., overrides: [data=digits, model=linear, "),
     ("optimizer.lr=0.1", "optimizer.lrr=0.1")],
)  # fmt: skip
def test_a_shared_value_that_no_row_has_is_refused(make, old, new):
    with pytest.raises(UserError, match=r"(model\.hidden|optimizer\.lrr): no row of this study has such a key"):
        make(STUDY.replace(old, new))


def test_twins_are_refused(make):
    with pytest.raises(UserError, match="'none' and 'dropout' are the same experiment"):
        make(changes=["reg=l2"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("baseline: none", "baseline: nun", "no row is called 'nun'"),
        ("title: two rows", "titel: two rows", "titel"),
        ("label: dropout", "label: none", "stands there twice"),
        ("test_error: 3", "accuracy: 97", "accuracy is not among the study's columns"),
        ("baseline: none", "baseline: none\ncolumns: [acc]", "acc is not a column"),
        ("note: a note", "against: dropuot", "dropout: against: no row is called 'dropuot'. Did you mean dropout"),
        ("note: a note", "against: dropout", "not compared with itself"),
        ("- {label: dropout", "- reg=none '\n  - {label: dropout", "No closing quotation"),
        ("- {label: dropout", "- reg=none reg=none\n  - {label: dropout", "given twice"),
        ("baseline: none", "baseline: none\nmargin: 0", "margin"),
        ("$width", "$wide", "values"),
        ("reg=dropout", "reg=dropuot", "Did you mean dropout"),
        ("seeds: [0, 1]", "seeds: []", "seeds"),
        ("title: two rows", "title: [", "cannot be read"),
    ],
)
def test_mistakes_in_a_study_file_are_named(make, old, new, says):
    with pytest.raises(UserError, match=says.replace("(", r"\(")):
        make(STUDY.replace(old, new))


def test_three_lines_are_a_study(make):
    """Its name is its title, its first row the baseline, its words the labels."""
    planned = make(
        "shared: [epochs=1]\nrows: [reg=none, reg=dropout reg.dropout.p=0.3, {label: l2, overrides: [reg=l2]}]\n", None
    )
    assert planned.title == "mine" and planned.seeds == [0, 1, 2] and len(planned.cells) == 9
    assert planned.rows[1].cells[0].experiment.settings.reg["dropout"]["p"] == 0.3
    found = table(planned)
    assert [row.name for row in found.rows] == ["reg=none", "reg=dropout reg.dropout.p=0.3", "l2"]
    assert (found.title, found.text) == ("mine", "") and "Source" not in found.protocol
    assert [row.baseline for row in found.rows] == [True, False, False]


def fill(planned, error=2.0):
    """Results for every planned run, as if they had been trained."""
    for i, row in enumerate(planned.rows):
        for cell in row.cells:
            seed = cell.experiment.settings.seed
            found = fake(error=error + i / 2 + seed / 50 + (-1) ** seed * i / 100)
            changed = {"run_id": cell.experiment.run_id, "config": cell.experiment.settings.model_dump()}
            cell.experiment.folder.mkdir(parents=True)
            Result(**{**found.__dict__, **changed}).write(cell.experiment.folder)


def test_a_row_says_what_it_is_compared_with(make):
    more = """  - {label: wide, overrides: ["model.hidden=[32]"]}
  - {label: "wide, dropout", overrides: ["model.hidden=[32]", reg=dropout], against: wide}
budgets:"""
    planned = make(
        STUDY.replace("budgets:", more)
        .replace("baseline: none", "margin: 1.5")
        .replace("note: a note", "against: none")
    )
    fill(planned)
    rows = table(planned).rows
    assert [(row.name, row.against) for row in rows if row.against] == [("dropout", "none"), ("wide, dropout", "wide")]
    assert [row.baseline for row in rows] == [True, False, True, False]
    assert rows[1].difference.stat.mean == pytest.approx(0.5) and table(planned).margin == 1.5
    assert table(planned, margin=0.25).margin == 0.25


@pytest.mark.parametrize("instead", ["baseline: null", "margin: 1"])
def test_rows_that_are_read_or_reach_something_are_not_compared(make, instead):
    text = STUDY.replace("baseline: none", instead)
    planned = make(text.replace("note: a note", "reaches: 3") if "margin" in instead else text)
    fill(planned)
    found = table(planned)
    assert not any(row.baseline or row.difference for row in found.rows) and "In words" not in found.protocol
    assert found.protocol.get("Goal", "").startswith("dropout: mean 2.51, goal below 3, p " * ("margin" in instead))


@pytest.mark.parametrize("column", ["test_error", "accuracy, test_error"])
def test_a_ranked_study_has_its_best_row_first_whatever_row_asks_for_more_seeds(make, column):
    none, dropout = (line for line in STUDY.splitlines() if "label" in line)
    turned = STUDY.replace(f"{none}\n{dropout}", f"{dropout}\n{none}")
    planned = make(turned.replace("baseline: none", f"baseline: none\nranked: true\ncolumns: [{column}]"))
    assert [row.name for row in table(planned).rows] == ["dropout", "none"]  # as in the file: nothing is there yet
    fill(planned, error=10.0)
    assert [row.name for row in table(planned).rows] == ["dropout", "none"]
    better = make(STUDY.replace("baseline: none", f"baseline: none\nranked: true\ncolumns: [{column}]"))
    assert [row.name for row in table(better).rows] == ["dropout", "none"]
    assert wanted(better) == better.cells


def test_runs_of_other_seeds_are_named(make):
    fill(make(seeds=[0, 1, 2, 7]))
    assert table(make()).protocol["Left out"] == "4 runs of other seeds that are there; seeds=0,1,2,7 takes them in"
    assert "Left out" not in table(make(seeds=[0, 1, 2, 7])).protocol


def test_find():
    assert find("mnist_regularizers") == studies()["mnist_regularizers"]
    with pytest.raises(UserError, match="Did you mean mnist_regularizers"):
        find("mnist_regularisers")
    with pytest.raises(UserError, match="no such file"):
        find("nowhere.yaml")


def test_state_counts_what_is_done(make, tmp_path):
    planned = make()
    assert state("mine", "smoke", tmp_path / "outputs") == ""
    record(planned, planned.cells)
    assert state("mine", "smoke", tmp_path / "outputs") == "0/4 done"
    run(planned, Executor())
    assert state("mine", "smoke", tmp_path / "outputs") == "4/4 done"
    shutil.rmtree(planned.cells[0].experiment.folder)
    assert state("mine", "smoke", tmp_path / "outputs") == "3/4 done"
    assert len(read_all([tmp_path / "outputs"])[0]) == 3  # the note is not mistaken for a run


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("0,1", [0, 1]), ("[7]", [7]), ("3,", None), ("0", None), ("1,1", None)]
)  # fmt: skip
def test_seeds(text, seeds):
    if seeds is None:
        with pytest.raises(UserError, match="how many"):
            words._seeds(text)
    else:
        assert words._seeds(text) == seeds


def test_json_of_a_study_names_its_rows(make):
    from dlreg.report.render import render

    content = json.loads(render(table(make()), "json"))
    assert [row["label"] for row in content["rows"]] == [{"method": "none"}, {"method": "dropout"}]
    assert content["rows"][1]["note"] == "a note"
    assert load(studies()["mnist_regularizers"]).id == "T1"


def test_a_heading_of_two_parts_makes_two_columns_and_a_sweep(make):
    text = STUDY.replace("baseline: none", "heading: 'images, method'\nbaseline: '100, none'")
    for label in ("none", "dropout"):
        text = text.replace(f"label: {label},", f"label: '100, {label}',")
    found = table(run(make(text), Executor()))
    assert [row.label for row in found.rows] == [{"images": "100", "method": m} for m in ("none", "dropout")]
    assert [row.name for row in found.rows] == ["100, none", "100, dropout"]
    assert along(found, "images").keys() == {"none", "dropout"}


@pytest.mark.parametrize("label", ["none", "100, ", "100, none, all"])
def test_a_label_without_both_parts_of_a_heading_is_one_cell(label):
    assert _label("images, method", label) == {"images, method": label}


def test_a_row_is_a_text_a_name_and_a_text_or_what_it_says(make):
    rows = (
        "rows: [reg=l1, with drops: reg=dropout reg.dropout.p=0.2, {label: plain}, {label: l2, overrides: [reg=l2]}]\n"
    )
    budgets = "budgets: {smoke: {overrides: [epochs=1, device=cpu], seeds: [0], run_seconds: 1}}\n"
    found = [(row.row.label, row.row.overrides) for row in make(rows + budgets).rows]
    both = ["reg=dropout", "reg.dropout.p=0.2"]
    assert found == [("reg=l1", ["reg=l1"]), ("with drops", both), ("plain", []), ("l2", ["reg=l2"])]
    with pytest.raises(UserError, match=r"mine\.yaml: rows\.0\.overides: Extra inputs"):
        make("rows: [{label: l2, overides: [reg=l2]}]\n" + budgets)
