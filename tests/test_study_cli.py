"""`dlreg study`, `dlreg table` and `dlreg plot` through the real entry point."""

import pytest
from test_plan import STUDY


@pytest.fixture
def dlreg(tmp_path, monkeypatch, spoken):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(STUDY)

    return spoken


def test_list_names_every_study_with_its_source_and_cost(dlreg):
    status, out, _ = dlreg("study")
    assert status == 0
    assert "mnist_regularizers" in out and "Table 9" in out and "smoke: 24 runs" in out and "one GPU" in out


def test_dry_run_then_run_then_table_then_plot(dlreg, tmp_path):
    status, out, _ = dlreg("study", "mine.yaml", "--dry-run")
    assert status == 0 and not (tmp_path / "outputs").exists()
    assert out.count("missing") == 4 and "4 runs: 0 finished, 4 to do, about 8 s" in out
    status, out, _ = dlreg("table", "mine.yaml")
    assert status == 0 and "4 planned = 0 done + 4 missing" in out and not (tmp_path / "outputs").exists()
    status, out, err = dlreg("study", "mine.yaml")
    assert status == 0 and "3.00†" in out and "4 planned = 4 done" in out and "[4/4]" in err
    for style in ("md", "latex", "csv", "json", "html"):
        assert dlreg("table", "mine.yaml", "--format", style, "-o", f"t.{style}") == (0, "", "")
        assert "dropout" in (tmp_path / f"t.{style}").read_text()
    for kind in ("dots", "curves"):
        status, out, _ = dlreg("plot", "mine.yaml", "--kind", kind, "-o", f"{kind}.svg")
        assert (status, out) == (0, f"{kind}.svg\n")
        assert "dropout" in (tmp_path / f"{kind}.svg").read_text()
    status, _, err = dlreg("plot", "outputs", "--kind", "sweep")
    assert status == 2 and "differ in a number" in err


def test_extra_rows_seeds_and_overrides(dlreg):
    words = ("mine.yaml", "seeds=3", "--row", "L2 strong: reg=l2 reg.l2.alpha=0.1", "optimizer=adam", "epochs=1")
    status, out, _ = dlreg("study", *words)
    assert status == 0
    assert "L2 strong" in out and "9 planned = 9 done" in out and "Changed: optimizer=adam epochs=1" in out
    assert "L2 strong" in dlreg("table", *words, "--format", "md")[1]


def test_a_study_in_a_folder_of_ones_own(dlreg, tmp_path):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "ours.yaml").write_text(STUDY)
    assert "ours" in dlreg("study", "-cd", "conf")[1]
    assert "4 to do" in dlreg("study", "ours", "-cd", "conf", "--dry-run")[1]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("study", "mnist_regularisers"), "Did you mean mnist_regularizers?"),
        (("study", "mine.yaml", "budget=huge"), "Allowed: smoke, laptop"),
        (("study", "mine.yaml", "seed=3"), "give seeds=5 or seeds=0,1,2"),
        (("study", "mine.yaml", "seeds=none"), "how many"),
        (("study", "mine.yaml", "other"), "one study at a time"),
        (("study", "mine.yaml", "reg=dropout"), "are the same experiment"),
        (("study", "mine.yaml", "optimzer=adam"), "optimzer"),
        (("study", "mine.yaml", "--jobs", "0"), "at least 1"),
        (("study", "mine.yaml", "--row", "no colon"), "must be 'LABEL: KEY=VALUE"),
        (("table", "mine.yaml", "--baseline", "x"), "a study says its own"),
        (("table", "mine.yaml", "--against", "x"), "a study says its own"),
        (("table", "mine.yaml", "--margin", "0"), "--margin=0 must be a number above 0"),
        (("table", "mine.yaml", "--margin", "much"), "--margin=much must be a number above 0"),
        (("table", "nosuch"), "nosuch"),
        (("plot", "mine.yaml", "-o", "x.gif"), ".png, .svg or .pdf"),
        (("plot", "mine.yaml"), "nothing to draw"),
    ],
)
def test_refusals(dlreg, argv, says):
    status, out, err = dlreg(*argv)
    assert status == 2 and says in err and out == ""


def test_a_bad_row_is_refused_before_any_run(dlreg, tmp_path):
    status, _, err = dlreg("study", "mine.yaml", "--row", "broken: reg=early_stopping data.val_size=0")
    assert status == 2 and "data.val_size=0 leaves none" in err
    assert not list((tmp_path / "outputs").glob("digits*"))


def test_corrupt_and_foreign_folders_are_named(dlreg, tmp_path):
    dlreg("study", "mine.yaml", "seeds=1")
    folders = sorted((tmp_path / "outputs").glob("digits*"))
    (folders[0] / "result.json").write_text("{torn")
    (tmp_path / "outputs" / "holiday").mkdir()
    (tmp_path / "outputs" / "alien").mkdir()
    (tmp_path / "outputs" / "alien" / "result.json").write_text("{}")
    status, out, err = dlreg("table")
    assert status == 0 and " (1) " in out and "Runs: " not in out  # the one run that is left
    assert f"left out outputs/{folders[0].name}" in err and "left out outputs/alien" in err and "holiday" not in err
