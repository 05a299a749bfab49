"""`import dlreg` in a notebook: the commands' functions, and nothing that stays behind."""

import subprocess
import sys

import pytest
import torch

import dlreg
from dlreg import ui
from dlreg.errors import UserError
from dlreg.report.plot import KINDS
from dlreg.report.render import render

SMALL = ("epochs=1", "data.train_size=64", "model.hidden=[8]", "device=cpu", "threads=1")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_import_brings_nothing_heavy():
    """Not even typing: `dlreg --help` reads the same file."""
    code = (
        "import sys, dlreg; print(*{'torch', 'hydra', 'pydantic', 'numpy', 'typing', 'dlreg.api'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": ":".join(sys.path)})  # fmt: skip
    assert done.stdout.strip() == "", done.stdout + done.stderr
    assert set(dlreg.__all__) <= set(dir(dlreg))
    assert all(callable(getattr(dlreg, name)) and getattr(dlreg, name).__doc__ for name in dlreg.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        dlreg.trian  # noqa: B018


def test_train_twice_in_one_process(here):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first = dlreg.train(*SMALL, "optimizer=adam", "reg=dropout")
    again = dlreg.train(*SMALL, "optimizer=adam", "reg=dropout")
    assert first.status == again.status == "done" and first.test == again.test and first.seconds == again.seconds
    fresh = dlreg.train(*SMALL, "optimizer=adam", "reg=dropout", "rerun=true")
    assert fresh.test == first.test
    assert first.folder.resolve().parent == here / "outputs"
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    assert not dlreg.load(first.folder).training


def test_sweep_table_frames_and_figures(here):
    swept = dlreg.sweep(*SMALL, "reg=none,dropout", "reg.dropout.p=0.1", "seed=0,1")
    assert len(swept.to_frame()) == 2 and ui.live is None
    printed = dlreg.table("outputs", baseline="reg=none", columns=["test_error", "nll"], margin=0.5)
    assert list(printed.to_frame()["nll_n"]) == [2, 2] and printed.table.margin == 0.5
    assert repr(printed) == render(printed.table, "md") and printed.to_latex() == render(printed.table, "latex")
    assert printed._repr_html_().count("<tr>") == 3 and printed.to_html().startswith("<!doctype html>")
    frame, long = dlreg.runs("outputs"), dlreg.runs(epochs=True)
    assert len(frame) == 4 and len(long) == 4 and set(frame["reg"]) == {"none", "dropout"}
    assert frame["test_error"].mean() == pytest.approx(printed.to_frame()["test_error_mean"].mean())
    assert {"epoch", "train_loss", "val_error", "seed", "reg.dropout.p"} <= set(long)
    for kind in list(KINDS)[:2]:
        assert dlreg.plot(printed, kind).axes
    assert dlreg.plot("outputs", "curves").axes
    with pytest.raises(UserError, match="kind=pie must be one of curves, dots, sweep"):
        dlreg.plot(printed, "pie")


def test_a_study(here):
    (here / "own.yaml").write_text(
        "title: Own\nsource: nobody\ntext: Two rows.\nshared: []\nbaseline: plain\nrows:\n"
        "  - {label: plain, overrides: [reg=none]}\n  - {label: l2, overrides: [reg=l2]}\n"
        "budgets:\n  smoke: {text: one epoch., run_seconds: 1, seeds: [0], overrides: [epochs=1]}\n"
    )
    shown = dlreg.run_study("own.yaml", *SMALL)
    assert list(shown.to_frame()["method"]) == ["plain", "l2"]
    assert dlreg.table("own.yaml", *SMALL).to_frame().equals(shown.to_frame())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: dlreg.train("optimzer=adam"), "Did you mean optimizer?"),
        (lambda: dlreg.sweep("reg=none,dropuot"), "dropout"),
        (lambda: dlreg.run_study("mnist_regularizer"), "mnist_regularizers"),
        (lambda: dlreg.table("nothing"), "neither a folder nor a study"),
        (lambda: dlreg.table(colums="x"), "--colums"),
        (lambda: dlreg.plot("outputs"), "neither a folder nor a study"),
        (lambda: dlreg.load("nothing"), "not the folder of a finished run"),
    ],
)
def test_mistakes_are_one_line(call, said, here):
    with pytest.raises(UserError, match=said) as raised:
        call()
    assert len(str(raised.value).splitlines()) == 1 and ui.live is None
