"""Cross-validation: every sample is held out once, the folds of a row stand where seeds do, and are not taken for a sample."""

import math

import pytest
import torch
from results import config, result
from scipy import stats

from dlreg.config.compose import compose
from dlreg.data.base import Dataset, Split, prepare
from dlreg.errors import UserError
from dlreg.report.folds import overlap
from dlreg.report.judge import compare
from dlreg.report.question import Question
from dlreg.run.experiment import Experiment
from dlreg.run.result import run_id

KEYS = ("root", "download", "val_size", "train_size", "labelled", "normalize", "label_noise", "corruption")


def split(n=103, **words):
    """The training and validation samples' numbers: each sample is its number."""
    y = torch.arange(n) % 3
    x = torch.arange(n, dtype=torch.float32)[:, None]
    common = {k: v for k, v in compose(["data.normalize=none"]).data.items() if k in KEYS}
    data = prepare(Dataset(Split(x, y), Split(x[:3], y[:3]), 3), 0, torch.device("cpu"),
                   **{"folds": None, "fold": 0, "imbalance": 1.0} | common | words)  # fmt: skip
    return data.train, data.val


@pytest.mark.parametrize("folds", [2, 5, 103])
def test_folds_are_a_stratified_partition(folds):
    parts = [split(folds=folds, fold=fold) for fold in range(folds)]
    held = torch.cat([val.x for _, val in parts]).flatten()
    assert sorted(held.tolist()) == list(range(103))
    for train, val in parts:
        assert sorted([*train.x.flatten().tolist(), *val.x.flatten().tolist()]) == list(range(103))
        assert abs(len(val) - 103 / folds) < 1
        counts = val.y.bincount(minlength=3)
        assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data.fold=1"], "data.fold=1 is one of a cross-validation: give data.folds"),
        (["data.folds=5", "data.fold=5"], "data.fold=5 of data.folds=5: allowed"),
        (["data.folds=1"], "data.folds=1 must be"),
        (["data.folds=5", "data.train_size=1400"], "data.folds=5 and data.train_size=1400 ask for"),
    ],
)
def test_what_is_refused(words, says, settings):
    with pytest.raises(UserError, match=says):
        Experiment.of(settings(*words)).data()


def test_outside_the_identity_by_default(settings):
    plain = Experiment.of(settings())
    old = {k: v for k, v in plain.config["data"].items() if k not in ("folds", "fold")}
    assert run_id(plain.config | {"data": old}) == plain.run_id
    names = {Experiment.of(settings("data.folds=2", f"data.fold={fold}")).run_id for fold in (0, 1)}
    assert len(names | {plain.run_id}) == 3


def folded(reg, errors, folds=5):
    data = config()["data"] | {"folds": folds}
    return [result(reg, 0, error, data=data | {"fold": fold}) for fold, error in enumerate(errors)]


def test_the_variance_is_that_of_nadeau_and_bengio():
    """n = 5 folds: se = sd sqrt(1/5 + 1/4), with 4 degrees of freedom."""
    none, dropout = [2.0, 2.2, 2.1, 1.9, 2.3], [1.5, 1.8, 1.62, 1.4, 1.7]
    table = compare([*folded("none", none), *folded("dropout", dropout)], "reg=none")
    assert table.metrics[0] == "val_error"  # of what folds are made for
    base, row = table.rows
    assert len(base.runs) == len(row.runs) == 5
    half = stats.t.ppf(0.975, 4) * stats.tstd(none) * math.sqrt(1 / 5 + 1 / 4)
    shown = base.metrics["val_error"]
    assert shown.sd == pytest.approx(stats.tstd(none)) and shown.high - shown.mean == pytest.approx(half)
    d = [b - a for a, b in zip(none, dropout, strict=True)]
    t = sum(d) / 5 / (stats.tstd(d) * math.sqrt(1 / 5 + 1 / 4))
    assert row.difference.p == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert row.difference.stat.sd == pytest.approx(stats.tstd(d))
    assert row.difference.images is None and row.difference.seeds_needed is None
    assert "5 folds, seeds 0" in table.protocol["Folds"] and "Seeds" not in table.protocol


def test_folds_are_never_pooled_and_no_sample_is_added():
    rows = [
        folded(reg, [2.0 + i, 2.2 + i, 2.1 + i, 1.9 + i, 2.3 + i]) for i, reg in enumerate(("none", "dropout", "l2"))
    ]
    runs = [run for row in rows for run in row]
    assert overlap(runs) == 0.25
    assert "paired t-tests" in compare(runs).test
    seeds = [result(reg, seed, 2.0 + seed / 10) for reg in ("none", "dropout") for seed in range(3)]
    assert overlap(seeds) == 0 and "Folds" not in compare(seeds).protocol
    from dlreg.report.spending import Looks

    with pytest.raises(UserError, match=r"seeds=auto .* data\.folds"):
        compare(runs, question=Question(looks=Looks(5)))


def test_a_sweep_over_folds_is_one_row(spoken, tmp_path):
    words = ["train", "-m", "data.folds=3", "data.fold=0,1,2", "reg=none,l2", "reg.l2.alpha=0.1", "epochs=1",
             "model=linear", "data.train_size=128", "device=cpu", f"outputs={tmp_path}"]  # fmt: skip
    status, out, _ = spoken(*words)
    assert status == 0
    assert "(3)" in out and "fold " not in out.split("Folds")[0] and "cross-validation, 3 folds" in out
