"""Bias, variance and noise over the runs of a row: identities, an exact case, simulation; and what tables do without them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from results import result

from dlreg import durable
from dlreg.commands.words import columns_of
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.errors import UserError
from dlreg.report.decomposition import jackknifed
from dlreg.report.judge import Group, judge
from dlreg.report.metrics import METRICS
from dlreg.report.plot import figure
from dlreg.report.question import Question
from dlreg.report.stats import Stat
from dlreg.run.artifacts import pack_predictions
from dlreg.run.predictions import PREDICTIONS
from dlreg.run.result import read

TERMS = ("bias2", "variance", "noise")


@pytest.fixture
def predicted(tmp_path):
    """A maker of runs that predicted what it is given, of values with noise and the truth behind them."""

    def make(predictions, values, truth, test_set="the same"):
        runs = []
        for seed, each in enumerate(predictions):
            folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            columns = [
                None if a is None else torch.from_numpy(np.asarray(a)).double().view(-1, 1) for a in (values, truth)
            ]
            outputs = {"last": [torch.from_numpy(np.asarray(each)).double().view(-1, 1)]}
            content = pack_predictions(columns[0], outputs, False, columns[1])
            (folder / PREDICTIONS).write_bytes(content)
            error = float(np.mean((np.asarray(each) - np.asarray(values)) ** 2))
            run = result(seed=seed)
            numbers = {"loss": error, "mse": error, "samples": len(values)}
            both = {"last": numbers, "best_val": None}
            runs.append(
                replace(run, train=numbers, val=None, test=both, folder=folder, test_set=test_set,
                        files={PREDICTIONS: durable.digest(content)})
            )  # fmt: skip
        return runs

    return make


def of(runs):
    return {name: METRICS[name].stat(runs, "last") for name in (*TERMS, "test_mse")}


def test_a_case_by_hand(predicted):
    """Two points with the truth 0 and 1; three draws predict 1, 2, 3 and 1, 1, 1."""
    found = of(predicted([[1, 1], [2, 1], [3, 1]], [0.5, 1.5], [0, 1]))
    # At the first point the mean is 2 and the sample variance 1, so that bias^2 is 2^2 - 1/3; nothing is off at the second.
    assert found["bias2"].mean == pytest.approx((4 - 1 / 3) / 2) and found["variance"].mean == pytest.approx(1 / 2)
    assert found["noise"].mean == 0.25 and found["noise"].sd == 0 and found["bias2"].n == 3


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_terms_sum_to_the_error(noise, predicted):
    """Exactly so without noise; with it but for twice the mean of noise times bias on these points."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    values = truth + noise * rng.normal(size=50)
    predictions = 0.7 * truth + 0.3 * rng.normal(size=(6, 50))
    found = of(predicted(predictions, values, truth))
    common = -2 * np.mean((predictions.mean(0) - truth) * (values - truth))
    assert sum(found[name].mean for name in TERMS) + common == pytest.approx(found["test_mse"].mean, rel=1e-12)
    assert common == 0 or noise


def test_the_jackknife_leaves_each_out():
    wrong = np.random.default_rng(0).normal(size=(7, 20)) + 0.5

    def bias2(r):
        pairs = [(a * b).mean() for i, a in enumerate(r) for j, b in enumerate(r) if i != j]
        return np.mean(pairs)

    wanted = [7 * bias2(wrong) - 6 * bias2(np.delete(wrong, i, 0)) for i in range(7)]
    assert np.allclose(jackknifed(wrong), wanted, rtol=1e-12)
    plain = wrong.mean(0) ** 2 - wrong.var(0, ddof=1) / 7
    assert jackknifed(wrong).mean() == pytest.approx(plain.mean(), rel=1e-12)


def test_estimates_are_unbiased_and_intervals_cover():
    """Draws with known bias and variance: mean estimates within four standard errors, 95 % intervals between 90 and 99 %."""
    rng, bias, sd = np.random.default_rng(1), np.linspace(-0.5, 0.5, 8), 0.6
    wrong = bias + sd * rng.normal(size=(2000, 15, 8))
    found = [jackknifed(each) for each in wrong]
    stats = [(Stat.of(b), Stat.of((w**2).mean(1) - b)) for b, w in zip(found, wrong, strict=True)]
    for which, truth in ((0, np.mean(bias**2)), (1, sd**2)):
        means = np.array([s[which].mean for s in stats])
        assert abs(means.mean() - truth) < 4 * means.std() / len(means) ** 0.5
        assert 0.9 < np.mean([s[which].low <= truth <= s[which].high for s in stats]) < 0.99


@pytest.mark.parametrize("lacking", ["truth", "two draws", "other test sets", "a damaged file", "classes"])
def test_a_table_that_lacks_what_they_need_has_no_such_columns(lacking, predicted):
    values, truth = [0.0, 1.0], None if lacking == "truth" else [0.1, 0.9]
    runs = predicted(np.ones((2 if lacking == "two draws" else 4, 2)), values, truth)
    if lacking == "other test sets":
        runs[1] = replace(runs[1], test_set="another")
    if lacking == "a damaged file":
        (runs[1].folder / PREDICTIONS).write_bytes(b"x")
    if lacking == "classes":
        runs = [result(seed=s) for s in range(4)]
    metrics = ["test_error" if lacking == "classes" else "test_mse", *TERMS]
    assert judge([Group({"m": "a"}, runs)], None, Question(metrics)).metrics == metrics[:1]
    assert judge([Group({"m": "a"}, [], missing=4)], None, Question(metrics)).metrics == metrics  # they may come
    whole = Group({"m": "b"}, predicted(np.ones((4, 2)), values, [0.0, 1.0]))
    table = judge([Group({"m": "a"}, runs), whole], None, Question(metrics))
    assert table.metrics == metrics and table.rows[0].metrics["bias2"] is None


def test_they_are_not_judged():
    with pytest.raises(UserError, match="cannot be judged"):
        columns_of("bias2,test_mse")
    assert columns_of("test_mse,bias2") == ["test_mse", "bias2"]


@pytest.mark.parametrize("data", ["sine", "sine10", "quadratic", "gaussian"])
def test_made_values_are_known_without_their_noise(data):
    """The noise has the spread that was asked for and nothing to do with the truth."""
    settings = compose([f"data={data}", "loss=mse", *(["data.noise=0.3"] if data == "gaussian" else [])])
    made = build("data", settings.data)(None, False)
    noise = (made.test.y - made.truth)[:, 0]
    wanted = {"quadratic": 2.0}.get(data, 0.3)
    assert abs(float(noise.std()) / wanted - 1) < 0.15 and abs(float(noise.mean())) < 4 * wanted / len(noise) ** 0.5
    assert abs(float(torch.corrcoef(torch.stack([noise, made.truth[:, 0]]))[0, 1])) < 4 / len(noise) ** 0.5


def test_runs_of_several_draws_have_them(run, settings):
    """The whole way: each seed draws 25 points, and what is measured adds up to the error, noise times bias apart."""
    words = ("data=sine", "data.n=2000", "data.train_size=25", "data.val_size=0", "model=polynomial", "loss=mse",
             "optimizer=least_squares", "precision=fp64", "batch_size=full", "epochs=1", "save_weights=false")  # fmt: skip
    runs = [read(Path(settings().outputs) / run(*words, f"seed={seed}").run_id) for seed in range(4)]
    found = of(runs)
    assert len({r.train["mse"] for r in runs}) == 4 and found["noise"].mean == pytest.approx(0.09, rel=0.15)
    parts = [found[name].mean for name in TERMS]
    chance = 2 * (found["noise"].mean * max(parts[0], 0.0) / 1000) ** 0.5  # standard deviation of what is left out
    assert abs(sum(parts) - found["test_mse"].mean) < 4 * chance + 1e-12


def rows(predicted):
    """Three penalties, six draws each, of which the tables' terms are known."""
    truth = np.linspace(-1, 1, 20)
    drawn = [
        predicted((1 - a) * truth + 0.1 * np.random.default_rng(0).normal(size=(6, 20)), truth, truth)
        for a in (0, 0.3, 0.6)
    ]
    return judge(
        [Group({"lambda": f"{10**i}"}, runs) for i, runs in enumerate(drawn)], 0, Question(["test_mse", *TERMS])
    )


def test_the_picture_shows_the_terms(predicted):
    table = rows(predicted)
    axes = figure(table, "terms").axes[0]
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines} | {
        box.get_label(): box.lines[0].get_ydata(orig=False) for box in axes.containers
    }
    for name in ("bias2", "variance", "test_mse"):
        assert np.allclose(drawn[METRICS[name].title], [row.metrics[name].mean for row in table.rows])
    assert np.allclose(drawn["sum of the three"], drawn["test MSE"])  # there is no noise here


def test_there_are_no_terms_to_draw(predicted):
    with pytest.raises(UserError, match="needs rows along one number with the columns"):
        figure(replace(rows(predicted), metrics=["test_mse"]), "terms")
