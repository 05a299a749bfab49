"""What people type by mistake is answered with what to type; after a run stands what makes sense next."""

import shlex

import pytest
from conftest import Silent

from dlreg.commands import tune
from dlreg.commands.advice import after_divergence, next_commands
from dlreg.run.experiment import Experiment


@pytest.mark.parametrize(
    ("typed", "answered"),
    [
        ("train lr=0.1", "lr: there is no such key. Write optimizer.lr=..."),
        ("train -m lr=0.1,0.2", "lr: no run of this sweep has such a key. Write optimizer.lr=..."),
        ("train dropout=0.5", "dropout: there is no such key. Write reg=dropout"),
        ("train --epochs 3", "--epochs: there is no such flag. Write epochs=..."),
        ("train --reg=dropout", "--reg=dropout: there is no such flag. Write reg=..."),
        ("train epochs 3", "epochs: this override cannot be read. Write epochs=..."),
        ("train adam", "adam: this override cannot be read. Write optimizer=adam"),
        ("train optimizer.lr=interval(0,1)", "dlreg tune 'optimizer.lr=interval(0,1)' trials=20"),
        ("train -m optimizer.lr=interval(0,1)", "dlreg tune 'optimizer.lr=interval(0,1)' trials=20"),
        ("train -m optimizer.lr=tag(log,interval(0.1,1))", "dlreg tune 'optimizer.lr=tag(log,interval(0.1,1))'"),
        ("table columns accuracy", "columns is neither a folder nor a study. Write --columns ..."),
        ("show dropout", "give GROUP=OPTION, such as reg=dropout (dlreg list names all). Write dlreg show reg=dropout"),
        ("show study=optimizers", "a study's rows are shown by dlreg study optimizers --dry-run"),
        ("list dropuot", "dropuot: no option and no study has that word. Did you mean dropout?"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_what_to_type(typed, answered, spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = spoken(*typed.split())
    assert (status, out) == (2, "")
    assert answered in err and err.count("\n") == 1
    assert not [*tmp_path.iterdir()]  # refused before any work


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("table mnist_regularizers --format latx", "latex"),
        ("ablate reg=dropout --format htm", "html"),
        ("plot mnist_regularizers --kind dot", "dots"),
        ("table --population image", "images"),
        ("table --select best-val", "best_val"),
        ("predict x --select lst", "last"),
        ("surface x --select best", "best_val"),
        ("table --columns test_eror", "test_error"),
        ("study optimizers budget=smok", "smoke"),
        ("tune optimizer.lr=interval(0,1) search=sobl", "sobol"),
        ("landscape surface=beal", "beale"),
        ("train --cfg jb", "job"),
        ("train sampler=shufle", "shuffle"),
        ("train batch_size=ful", "full"),
        ("train data.normalize=standardise", "standardize"),
        ("train optimizer=adm", "adam"),
        ("train optimizer=momentum optimizer.form=torhc", "torch"),
    ],
)  # fmt: skip
def test_a_word_that_is_not_allowed_is_answered_with_the_nearest(typed, near, spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = spoken(*typed.split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"Did you mean {near}?" in err


def test_list_searches_names_headlines_texts_and_sources(spoken):
    for word, found in (("srivastava", "reg=dropout"), ("nesterov", "optimizer=nesterov"), ("mixup", "study mixup")):
        status, out, _ = spoken("list", word)
        assert status == 0 and found in out
        assert len(out.splitlines()) < 30
    both = spoken("list", "cosine", "restarts")[1]
    assert "schedule=cosine_restarts" in both and "study cosine_restarts" in both
    assert spoken("list", "schedule")[1].startswith("schedule")  # a group is the group


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], "dlreg train -m reg=none,dropout seed=0,1,2"),
        (["reg=dropout", "seed=3"], "dlreg train -m reg=none,dropout seed=0,1,2"),
        (["log=mlflow", "log.mlflow.uri=runs", "epochs=5"], "dlreg train -m reg=none,dropout epochs=5 seed=0,1,2"),
        (["optimizer=adam", "epochs=5"], "dlreg train -m optimizer=sgd,adam epochs=5 seed=0,1,2"),
        (
            ["reg=[dropout,l2]", "reg.l2.alpha=0.1"],
            "dlreg train -m 'reg=none,[dropout,l2]' reg.l2.alpha=0.1 seed=0,1,2",
        ),
    ],
)
def test_next_is_a_sweep_over_what_was_chosen(words, wanted, settings, monkeypatch):
    from results import result

    from dlreg.commands.train import cells_of

    first, second = next_commands(result(), words, settings())
    assert first == wanted
    assert second.startswith("dlreg report ")
    assert len(cells_of(shlex.split(first)[3:], [])) == 6  # it can be typed


def test_a_diverged_run_gets_advice(settings):
    told = after_divergence(settings("optimizer.lr=2", "reg=dropout"))
    assert told == "optimizer.lr=0.2 (now 2), or 'reg=[dropout,clip_norm]', or schedule.warmup=2"
    assert after_divergence(settings("reg=clip_norm", "schedule.warmup=1")) == "optimizer.lr=0.01 (now 0.1)"
    huge = ["optimizer.lr=1e30", "reg=clip_norm", "schedule.warmup=1"]
    assert after_divergence(settings(*huge)) == "optimizer.lr=0.1 (now 1e+30)"  # the option's own, not 1e+29


def test_the_source_of_a_tuned_study_makes_the_same_study(tmp_path, monkeypatch):
    """Folders of one's own and columns are a part of the command, as its words are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    words = ["optimizer.lr=interval(0.1,0.2)", "trials=2"]
    first = tune._asked(words, ["val_error"], ["own"]).study
    seen = []
    monkeypatch.setattr("dlreg.study.plan.plan", lambda asked: seen.append(asked) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tune.run(shlex.split(first.source)[2:])
    assert seen[0].study == first and seen[0].config_dirs == ["own"]


def test_the_end_of_a_run_says_what_next(spoken, tmp_path):
    small = ["epochs=1", "model=linear", "data.train_size=128", "device=cpu", f"outputs={tmp_path}"]
    assert "next: dlreg train -m model=mlp,linear epochs=1 " in spoken("train", *small)[1]
    out = spoken("train", *small, "optimizer.lr=1e30", "seed=1")[1]
    assert "next: try optimizer.lr=0.1" in out


def test_without_progress_nothing_is_told_of_a_run_that_goes_on(spoken, tmp_path):
    small = ["epochs=1", "model=linear", "data.train_size=128", "device=cpu", f"outputs={tmp_path}"]
    assert spoken("train", *small, "progress=false")[2] == ""


def test_early_stopping_says_which_epoch_it_restored(settings):
    words = ["reg=early_stopping", "reg.early_stopping.patience=1", "optimizer.lr=5", "epochs=8", "model=linear"]
    result = Experiment.of(settings(*words)).run(Silent())
    values = [row[result.config["reg"]["early_stopping"]["monitor"]] for row in result.history]
    best = values.index(min(values)) + 1
    assert (
        f"early_stopping: the weights are those of epoch {best}, restored after epoch {len(values)}" in result.remarks
    )


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("reg=batchnorm", "Write norm=batch."),
        ("reg=batch_norm", "Write norm=batch."),
        ("norm=batchnorm", "Write norm=batch."),
        ("model=dropout", "Write reg=dropout."),
        ("reg=adam", "Write optimizer=adam."),
        ("reg=max_norm", "Write reg=maxnorm."),
        ("reg=dropot", "Did you mean dropout?"),
    ],
)
def test_an_option_of_another_group_is_said_where_it_is(word, instead, spoken):
    status, out, err = spoken("train", word)
    assert (status, out) == (2, "")
    assert f"{word}: there is no such option. {instead} Allowed: " in err


def test_what_next_names_the_folder_of_ones_own_configs(spoken, tmp_path):
    (tmp_path / "my conf").mkdir()
    small = ["epochs=1", "model=linear", "data.train_size=128", "device=cpu", f"outputs={tmp_path}"]
    assert "next: dlreg train -m --config-dir " not in spoken("train", *small)[1]
    out = spoken("train", "--config-dir", f"{tmp_path}/my conf", *small, "seed=1")[1]
    assert f"next: dlreg train -m model=mlp,linear --config-dir '{tmp_path}/my conf' epochs=1 " in out
    words = ["optimizer.lr=tag(log,interval(0.1,1))", "trials=1", "seeds=1", *small]
    err = spoken("tune", "--config-dir", f"{tmp_path}/my conf", *words)[2]
    assert err.count(f".yaml --config-dir '{tmp_path}/my conf' --") == 2  # plot and table
