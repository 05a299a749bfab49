"""Long-tailed training sets: their sizes, what stays as it was, and the errors that count classes instead of samples."""

import pytest
import torch
from conftest import Silent
from sklearn.metrics import balanced_accuracy_score
from test_data import COMMON, labelled

from dlreg.config.compose import compose
from dlreg.data.base import Split, prepare
from dlreg.data.imbalance import long_tail, thirds
from dlreg.errors import UserError
from dlreg.report.metrics import METRICS
from dlreg.run import parts
from dlreg.run.by_class import by_class
from dlreg.run.experiment import Experiment
from dlreg.run.reopen import reopen
from dlreg.run.result import identity, run_id

BY_CLASS = ("balanced_error", "head_error", "middle_error", "tail_error")


def test_the_sizes_are_those_of_the_published_long_tailed_cifar():
    """CIFAR-10 at a ratio of 100, as Cao et al. (2019) list it: 5,000 down to 50."""
    y = torch.arange(10).repeat(5000)
    kept = y[long_tail(y, 10, 0.01)].bincount()
    assert kept.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_only_the_training_set_is_thinned_out_and_its_order_stays_stratified():
    make = lambda **more: prepare(labelled([200] * 5), 0, torch.device("cpu"), **COMMON | {"val_size": 100} | more)  # noqa: E731
    plain, tail = make(), make(imbalance=0.1)
    assert torch.equal(plain.val.x, tail.val.x) and torch.equal(plain.test.open().x, tail.test.open().x)
    assert set(tail.train.x.flatten().tolist()) < set(plain.train.x.flatten().tolist())
    counts = tail.train.y.bincount()
    assert counts.tolist() == [int(180 * 0.1 ** (c / 4)) for c in range(5)]
    few = make(imbalance=0.1, labelled=100)
    assert torch.equal(torch.cat([few.train.x, few.pool]), tail.train.x)
    shares = few.train.y.bincount() / 100
    assert (shares - counts / counts.sum()).abs().max() < 0.02


def test_balanced_is_the_run_that_it_was(settings):
    plain = compose(["device=cpu"]).model_dump()
    without = {k: v for k, v in plain["data"].items() if k != "imbalance"}
    assert run_id(plain) == run_id(plain | {"data": without}) and "imbalance" not in identity(plain)["data"]
    assert run_id(compose(["device=cpu", "data.imbalance=0.5"]).model_dump()) != run_id(plain)


def test_errors_by_class_are_sklearns_and_their_definition():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(7, (300,), generator=generator) * (torch.rand(300, generator=generator) < 0.7)
    outputs = torch.randn(300, 7, generator=generator)
    train = Split(y, torch.arange(7).repeat_interleave(torch.tensor([9, 80, 70, 8, 30, 20, 10])))
    found = by_class(outputs, Split(y, y), train)
    assert found["balanced_error"] == pytest.approx(1 - balanced_accuracy_score(y, outputs.argmax(1)), abs=1e-12)
    wrong = (outputs.argmax(1) != y).double()
    for name, classes in {"head": [1, 2, 4], "middle": [5, 6], "tail": [0, 3]}.items():
        means = [wrong[y == c].mean().item() for c in classes]
        assert found[f"{name}_error"] == pytest.approx(sum(means) / len(means), abs=1e-12)


def test_they_are_left_out_where_they_say_nothing():
    assert thirds(torch.tensor([60, 59, 40])) == {}
    assert {k: v.tolist() for k, v in thirds(torch.tensor([5, 50])).items()} == {"head": [1], "middle": [0]}
    even = Split(torch.zeros(6), torch.arange(3).repeat(2))
    assert by_class(torch.eye(3).repeat(2, 1), even, even) == {}
    values = Split(torch.zeros(2), torch.zeros(2, 1))
    assert by_class(torch.zeros(2, 1), values, values) == {}


@pytest.mark.parametrize(
    "words", [["loss.class_weight=none"], ["loss.class_weight=balanced"], ["sampler=balanced"]], ids="".join
)
def test_a_long_tailed_run_has_the_columns_and_opens_again_with_the_same_numbers(words, settings):
    experiment = Experiment.of(settings("data.train_size=1000", "data.imbalance=0.1", *words))
    result = experiment.run(Silent())
    assert result.status == "done", result.message
    found = [METRICS[name].of(result, "last") for name in BY_CLASS]
    assert all(0 <= value <= 100 for value in found)
    assert METRICS["balanced_accuracy"].of(result, "last") == 100 - found[0]
    opened = reopen(experiment.folder)
    assert opened.predict(opened.test)[1] == result.test["last"]


def test_a_balanced_run_has_none(run):
    result = run("epochs=1")
    assert all(METRICS[name].of(result, "last") is None for name in BY_CLASS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.imbalance=0.01"], "data.imbalance=0.01 leaves no sample of the rarest of 10 classes, of 128 in all"),
        (["data.imbalance=0"], r"data\.imbalance=0.* must be greater than 0"),
        (["data.imbalance=2"], r"data\.imbalance=2.* must be less than or equal to 1"),
        (["data=sine", "loss=mse", "data.train_size=null", "data.imbalance=0.5"], "this data set has values: leave it"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(words, message, settings):
    with pytest.raises(UserError, match=message) as refusal:
        Experiment.of(settings(*words)).run(Silent())
    assert len(str(refusal.value).splitlines()) == 1


def test_the_loss_of_a_class_weighs_by_the_long_tail(settings):
    chosen = settings("data.train_size=1000", "data.imbalance=0.1", "loss.class_weight=inverse")
    data = parts.make_data(chosen, parts.load(chosen.data))
    weights, counts = parts.make_criterion(chosen, data).weights, data.train.y.bincount().double()
    assert torch.allclose(weights * counts, (weights * counts)[0]) and weights.sum() == pytest.approx(10)
