"""Losses: formulas in float64, gradients, strength zero, hard and soft targets, class weights, and runs from before."""

import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Silent

from dlreg import durable
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.config.schema import LATER
from dlreg.data.base import Split
from dlreg.errors import UserError
from dlreg.loss.base import class_weights
from dlreg.run.evaluate import evaluate
from dlreg.run.experiment import Experiment
from dlreg.run.result import read, run_id

K = 4


@functools.cache
def node(name):
    return compose([f"loss={name}"]).loss


def loss(name, task="classes", weights=None, **keys):
    made = build("loss", node(name) | keys)
    made.begin(task, weights)
    return made


def sample(n=30, seed=0, soft=True):
    """Outputs and targets in float64; every third target is one-hot."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(n, K, generator=generator, dtype=torch.float64)
    targets = torch.softmax(2 * torch.randn(n, K, generator=generator, dtype=torch.float64), 1)
    hard = torch.eye(K, dtype=torch.float64)[torch.randint(K, (n,), generator=generator)]
    keep = (torch.arange(n) % 3 > 0).unsqueeze(1) & soft
    return outputs, torch.where(keep, targets, hard)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


# One sample, in plain numpy and Python floats.
FORMULAS = {
    "cross_entropy": lambda z, y: -(y * np.log(softmax(z))).sum(),
    "focal": lambda z, y: -(y * (1 - softmax(z)) ** 2.0 * np.log(softmax(z))).sum(),
    "gce": lambda z, y: (y * (1 - softmax(z) ** 0.7) / 0.7).sum(),
    "symmetric_cross_entropy": lambda z, y: (
        -0.1 * (y * np.log(softmax(z))).sum()
        - sum(p * (max(math.log(t), -4.0) if t > 0 else -4.0) for p, t in zip(softmax(z), y, strict=True))
    ),
    "mae": lambda z, y: abs(softmax(z) - y).sum(),
    "mse": lambda z, y: ((z - y) ** 2).mean(),
    "bce": lambda z, y: -(y * np.log(1 / (1 + np.exp(-z))) + (1 - y) * np.log(1 / (1 + np.exp(z)))).mean(),
}
# The strength at which a loss is cross entropy to the bit.
NEUTRAL = {"focal": {"gamma": 0.0}, "gce": {"q": 0.0}, "symmetric_cross_entropy": {"alpha": 1.0, "beta": 0.0}}
LOSSES = options("loss")


def test_every_loss_has_its_formula():
    assert set(FORMULAS) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_equals_the_formula(name):
    outputs, targets = sample()
    wanted = [FORMULAS[name](z, y) for z, y in zip(outputs.numpy(), targets.numpy(), strict=True)]
    criterion = loss(name)
    assert abs(float(criterion(outputs, targets)) - np.mean(wanted)) < 1e-13
    assert abs(float(criterion(outputs, targets, reduction="sum")) - np.sum(wanted)) < 1e-11


@pytest.mark.parametrize(
    ("name", "torchs"),
    [
        ("cross_entropy", F.cross_entropy),
        ("mse", F.mse_loss),
        ("bce", F.binary_cross_entropy_with_logits),
    ],
)
def test_equals_torch(name, torchs):
    outputs, targets = sample()
    assert abs(float(loss(name)(outputs, targets) - torchs(outputs, targets))) < 1e-14


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_right(name):
    outputs, targets = sample(6)
    criterion = loss(name)
    assert torch.autograd.gradcheck(lambda z: criterion(z, targets), outputs.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_labels_are_their_one_hot_targets(name):
    """Validation gives whole numbers, training gives probabilities: it is one loss."""
    outputs, targets = sample(soft=False)
    criterion = loss(name)
    assert abs(float(criterion(outputs, targets) - criterion(outputs, targets.argmax(1)))) < 1e-14


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_certainty_is_finite(name, dtype):
    """Outputs that a softmax rounds to 0 and 1: neither the loss nor its gradient is infinite or no number."""
    outputs = torch.tensor([[200.0, 0, 0, -200.0]] * 2, dtype=dtype, requires_grad=True)
    criterion = loss(name, **({"gamma": 0.5} if name == "focal" else {}))
    value = criterion(outputs, torch.eye(K, dtype=dtype)[[0, 3]])
    value.backward()
    assert value.isfinite() and outputs.grad.isfinite().all()


@pytest.mark.parametrize("name", NEUTRAL)
def test_strength_zero_is_cross_entropy_to_the_bit(name):
    outputs, targets = (t.float() for t in sample())
    assert torch.equal(loss(name, **NEUTRAL[name])(outputs, targets), F.cross_entropy(outputs, targets))


@pytest.mark.parametrize(("name", "key", "small"), [("focal", "gamma", 1e-7), ("gce", "q", 1e-7)])
def test_strength_zero_is_the_limit(name, key, small):
    outputs, targets = sample()
    assert abs(float(loss(name, **{key: small})(outputs, targets) - F.cross_entropy(outputs, targets))) < 1e-5


def test_gce_at_one_is_half_of_mae():
    outputs, targets = sample(soft=False)
    assert abs(float(2 * loss("gce", q=1.0)(outputs, targets) - loss("mae")(outputs, targets))) < 1e-14


def test_mae_does_not_mind_symmetric_noise():
    """Ghosh et al. (2017), Theorem 1: averaged over all labels, the loss is the same whatever is predicted: 2 K - 2."""
    outputs, _ = sample()
    each = [loss("mae")(outputs, torch.full((len(outputs),), k)) for k in range(K)]
    assert abs(float(sum(each)) - (2 * K - 2)) < 1e-13


def test_mae_of_values_is_torchs():
    outputs, targets = torch.randn(20, 1), torch.randn(20, 1)
    assert torch.allclose(loss("mae", "values")(outputs, targets), F.l1_loss(outputs, targets))


# --- weights of classes


def test_weights_are_those_of_the_paper():
    counts = np.array([5000, 500, 50, 5])
    inverse = (1 / counts) / (1 / counts).sum() * K
    effective = (1 - 0.9999) / (1 - 0.9999**counts)
    found = class_weights(torch.tensor(counts), class_weight="inverse", class_beta=0.9999)
    assert np.allclose(found, inverse, rtol=1e-13)
    found = class_weights(torch.tensor(counts), class_weight="balanced", class_beta=0.9999)
    assert np.allclose(found, effective / effective.sum() * K, rtol=1e-12)
    close = class_weights(torch.tensor(counts), class_weight="balanced", class_beta=1 - 1e-10)
    assert np.allclose(close, inverse, rtol=1e-4)


def test_a_class_without_samples_weighs_nothing():
    found = class_weights(torch.tensor([10, 0, 5]), class_weight="inverse", class_beta=0.5)
    assert found.tolist() == pytest.approx([2 / 3, 0, 4 / 3])


@pytest.mark.parametrize(("counts", "word", "beta"), [([7, 7, 7], "inverse", 0.9), ([9, 1, 4], "balanced", 0.0)])
def test_equal_weights_are_none(counts, word, beta):
    assert class_weights(torch.tensor(counts), class_weight=word, class_beta=beta) is None


@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_multiplies_its_class(name):
    """A weight of 2 is the sample twice, in the sum; the mean is over the samples, so a batch of one class keeps it."""
    outputs, targets = sample(soft=False)
    weights = torch.tensor([2.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    plain, weighed = loss(name), loss(name, weights=weights)
    first = targets[:, 0] == 1
    wanted = plain(outputs, targets, reduction="sum") + plain(outputs[first], targets[first], reduction="sum")
    assert abs(float(weighed(outputs, targets, reduction="sum") - wanted)) < 1e-12
    assert abs(float(weighed(outputs[first], targets[first]) - 2 * plain(outputs[first], targets[first]))) < 1e-13


def test_weighed_cross_entropy_is_torchs_but_for_the_divisor():
    outputs, targets = sample(soft=False)
    weights = torch.rand(K, dtype=torch.float64)
    wanted = F.cross_entropy(outputs, targets.argmax(1), weights, reduction="sum") / len(outputs)
    assert abs(float(loss("cross_entropy", weights=weights)(outputs, targets) - wanted)) < 1e-14


def test_a_mixed_sample_weighs_as_its_parts():
    """mixup of classes a and b with lam: lam w_a + (1 - lam) w_b."""
    weights = torch.tensor([3.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    outputs, targets = torch.zeros(1, K, dtype=torch.float64), torch.tensor([[0.25, 0.75, 0, 0]], dtype=torch.float64)
    assert float(loss("cross_entropy", weights=weights)(outputs, targets)) == pytest.approx(1.5 * math.log(K))


# --- in a run


def test_weights_change_a_run_of_unequal_classes_and_are_remarked_on_where_they_do_not(run, data_root):
    plain = run("loss.class_weight=none")
    weighed = run("loss.class_weight=inverse")
    assert plain.history[-1]["train_loss"] != weighed.history[-1]["train_loss"]
    npz = ("data=npz", f"data.root={data_root}", "data.val_size=0", "data.train_size=null", "data.normalize=unit")
    idle = run(*npz, "loss.class_weight=balanced", "loss.class_beta=0")
    assert any("class_weight=balanced changed nothing" in remark for remark in idle.remarks)
    assert idle.history[-1]["train_loss"] == run(*npz).history[-1]["train_loss"]


@pytest.mark.parametrize("name", LOSSES)
def test_composes_with_what_mixes_labels(name, run):
    words = ["aug=mixup", "reg=[label_smoothing,dropout]", "loss.class_weight=balanced", "optimizer.lr=0.01"]
    result = run(f"loss={name}", *words)
    assert result.status == "done" and result.test["last"]["loss"] > 0


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "mse"])
def test_committees_predict_with_every_loss(name, run):
    result = run(f"loss={name}", "reg=[bagging,mc_dropout]", "reg.bagging.k=2", "reg.mc_dropout.k=3")
    assert result.status == "done" and 0 <= result.history[-1]["oob_error"] <= 1


def test_votes_need_a_softmax(run):
    with pytest.raises(UserError, match="combine=vote needs a loss with a softmax"):
        run("loss=mse", "reg=ensemble", "reg.ensemble.k=2", "reg.ensemble.combine=vote")


def test_retraining_stops_by_the_runs_own_loss(run):
    """Algorithm 7.3 compares the validation loss with a training loss: both are of the loss that is trained."""
    result = run("loss=mse", "epochs=3", "reg=early_stopping", "reg.early_stopping.retrain=loss")
    said = next(remark for remark in result.remarks if remark.startswith("early_stopping: validation loss"))
    assert 0 < float(said.split("fell below " if "fell" in said else "did not reach ")[1].split()[0]) < 0.5


def test_nll_and_ece_are_of_a_softmax_only():
    """The likelihood is the same quantity in every row; outputs that are no logits have none."""
    outputs, targets = (t.float() for t in sample(soft=False))

    class Fixed(torch.nn.Linear):
        def forward(self, x):
            return outputs

    split = Split(outputs, targets.argmax(1))
    found = {name: evaluate(Fixed(1, 1), split, loss(name)) for name in LOSSES}
    nll = float(F.cross_entropy(outputs, targets))
    for name, metrics in found.items():
        assert metrics["error"] == found["cross_entropy"]["error"]
        assert metrics["loss"] == pytest.approx(float(loss(name)(outputs, targets)), rel=1e-5)
        if name in ("mse", "bce"):
            assert metrics["nll"] is None and metrics["ece"] is None
        else:
            assert metrics["nll"] == pytest.approx(nll, rel=1e-5) and metrics["ece"] is not None


# --- runs from before there were losses


def test_later_groups_hold_the_defaults():
    """What a run before a group did is what happens now when nothing is chosen."""
    plain = compose([]).model_dump()
    assert {group: plain[group] for group in LATER} == LATER


def test_a_run_from_before_is_done(settings):
    experiment = Experiment.of(settings())
    result = experiment.run(Silent())
    old = durable.read_json(experiment.folder / "result.json")
    del old["config"]["loss"]
    durable.write_json(experiment.folder / "result.json", old)
    assert run_id(old["config"]) == result.run_id
    again = Experiment.of(settings()).finished()
    assert again is not None and again.config["loss"]["name"] == "cross_entropy"
    assert read(experiment.folder).config["loss"] == LATER["loss"]


def test_another_loss_is_another_run(settings):
    names = {Experiment.of(settings(f"loss={name}")).run_id for name in LOSSES}
    names |= {Experiment.of(settings("loss.class_weight=inverse")).run_id}
    assert len(names) == len(LOSSES) + 1
