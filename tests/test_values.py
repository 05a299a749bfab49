"""Regression: a data set of values is an experiment like any other; what is of classes only is refused in one line."""

import numpy as np
import pytest
import torch

from dlreg.config.compose import compose
from dlreg.data.base import Dataset, Split
from dlreg.errors import UserError
from dlreg.report.judge import compare
from dlreg.report.plot import draw
from dlreg.report.render import render
from dlreg.run.evaluate import evaluate
from dlreg.run.predictions import predictions, wrong

SINE = ("data=sine", "data.train_size=null", "model=rbf", "loss=mse", "optimizer.lr=0.1")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two rows of two seeds each."""
    from conftest import Silent

    from dlreg.run.experiment import Experiment

    out = tmp_path_factory.mktemp("values")
    words = [*SINE, f"outputs={out}", "epochs=3", "device=cpu", "threads=1"]
    runs = []
    for reg in ("none", "l2"):
        for seed in (0, 1):
            experiment = Experiment.of(compose([*words, f"reg={reg}", f"seed={seed}"]))
            experiment.run(Silent())
            runs.append(experiment.finished())
    return runs


def test_metrics_are_those_of_numpy():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 3, generator=generator), torch.randn(50, 2, generator=generator)
    model = torch.nn.Linear(3, 2)
    found = evaluate(model, Split(x, y), _l1)
    predicted = model(x).detach().double().numpy()
    error = predicted - y.double().numpy()
    spread = ((y.double().numpy() - y.double().numpy().mean(0)) ** 2).sum()
    assert found["mse"] == pytest.approx((error**2).mean(), rel=1e-6)
    assert found["r2"] == pytest.approx(1 - (error**2).sum() / spread, rel=1e-6)
    assert found["loss"] == pytest.approx(abs(error).sum(1).mean(), rel=1e-5)
    constant = Split(x[:3], torch.ones(3, 2))
    assert evaluate(model, constant, _l1)["r2"] is None


def _l1(outputs, targets, reduction):
    return getattr((outputs - targets).abs().sum(1), reduction)()


def test_a_run_of_values(two):
    result = two[0]
    assert set(result.test["last"]) == {"loss", "mse", "r2", "samples"}
    assert result.test["last"]["loss"] == pytest.approx(result.test["last"]["mse"], rel=1e-5)
    assert {"train_mse", "val_mse"} <= set(result.history[0]) and "val_error" not in result.history[0]
    best = min(row["val_mse"] for row in result.history)
    assert result.val["best_val"]["mse"] == pytest.approx(best, rel=1e-6)
    found = predictions(result)
    assert found.labels.shape == found.predicted.shape == (1000, 1) and found.probabilities is None
    assert ((found.labels - found.predicted) ** 2).mean() == pytest.approx(result.test["last"]["mse"], rel=1e-5)
    assert wrong(result) is None


def test_the_table_shows_squared_errors(two):
    table = compare(two)
    assert table.metrics == ["test_mse", "r2", "val_mse", "train_mse", "seconds"]
    text = render(table, "md")
    assert "test MSE" in text and "test R²" in text and "error %" not in text and "ECE" not in text
    assert "test MSE over the seeds both have (lower is better)" in table.protocol["Verdicts"]
    for kind in ("curves", "dots"):
        assert draw(table, kind, "png")


def test_the_summary_says_squared_error(two, spoken, tmp_path):
    folder = two[0].folder.parent
    status, out, _ = spoken(
        "train", *SINE, f"outputs={folder}", "epochs=3", "device=cpu", "threads=1", "reg=none", "seed=0"
    )
    assert status == 0 and out.startswith("done already")
    assert "test squared error" in out and "%" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss=cross_entropy"], "loss=cross_entropy is of classes, and data=sine has values; give loss=mse or mae"),
        (["loss=bce"], "loss=bce is of classes"),
        (["loss=focal"], "loss=focal is of classes"),
        (["loss.class_weight=inverse"], "loss.class_weight=inverse weighs classes"),
        (["reg=label_smoothing"], "label_smoothing changes the probabilities of classes"),
        (["data.label_noise=0.1"], "data.label_noise=0.1 draws other classes"),
        (["data.corruption=random_labels"], "data.corruption=random_labels draws other classes"),
        (["sampler=balanced"], "sampler=balanced draws every class equally often"),
        (["reg=bagging", "reg.bagging.combine=vote"], "combine=vote needs a loss with a softmax"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_of_classes_is_refused(words, said, run, settings, tmp_path):
    with pytest.raises(UserError) as refused:
        run(*SINE, *words)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["aug=mixup", "reg=[dropout,maxnorm,ema]", "model=mlp"],
        ["reg=[bagging,mc_dropout]", "reg.bagging.k=2", "reg.mc_dropout.k=3", "model=mlp", "norm=batch"],
        ["reg=early_stopping", "reg.early_stopping.monitor=val_error", "reg.early_stopping.retrain=steps"],
        ["reg=early_stopping", "reg.early_stopping.retrain=loss", "epochs=3"],
        ["optimizer=svrg", "schedule=plateau"],
        ["loss=mae", "data.corruption=gaussian", "data.normalize=whiten"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_what_is_not_of_classes_composes(words, precision, run):
    result = run(*SINE, *words, f"precision={precision}")
    assert result.status == "done", result.message
    assert result.test["last"]["mse"] < 10


def test_a_committee_averages_values(run):
    """Of k equal members nothing changes; the out-of-bag figure is a squared error."""
    plain = run(*SINE, "precision=fp64")
    result = run(*SINE, "precision=fp64", "reg=bagging", "reg.bagging.k=3")
    assert result.history[-1]["oob_mse"] > 0
    assert any("out-of-bag squared error" in remark for remark in result.remarks)
    assert abs(result.test["last"]["mse"] - plain.test["last"]["mse"]) < 0.5


def test_fp64_is_float64_throughout(run):
    """One step of gradient descent on one feature, by hand in numpy: no operation in between is in float32."""
    result = run(
        "data=sine10", "data.train_size=null", "model=polynomial", "model.degree=1", "loss=mse", "init=zeros",
        "optimizer.lr=0.1", "epochs=1", "batch_size=full", "precision=fp64",
    )  # fmt: skip
    from dlreg.data.curves import TEN

    x, t = np.arange(10) / 9, np.array(TEN)
    w, b = 0.1 * 2 * (x * t).mean(), 0.1 * 2 * t.mean()
    assert result.train["mse"] == pytest.approx(((w * x + b - t) ** 2).mean(), rel=1e-13)


def test_fp64_works_on_images(run):
    assert run("precision=fp64", "aug=mixup", "reg=[dropout,label_smoothing]").status == "done"


@pytest.mark.parametrize(
    ("y", "said"),
    [(torch.full((3, 1), float("nan")), "NaN or infinite"), (torch.zeros(3, 2), "allowed: (N, 1)")],
)
def test_bad_values_are_refused(y, said):
    good = Split(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(UserError) as refused:
        Dataset(Split(torch.zeros(3, 1), y), good, 1).checked("data=mine")
    assert said in str(refused.value)
