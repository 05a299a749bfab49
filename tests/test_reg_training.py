"""Stopping, retraining, averaging weights and averaging models."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from torch import nn
from toy import begun, data_of

from dlreg import durable
from dlreg.context import Context, Progress
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.reg.averages import EMA, SWA
from dlreg.reg.early_stopping import EarlyStopping, best_epoch
from dlreg.reg.ensemble import Committee, out_of_bag
from dlreg.run import parts
from dlreg.run.evaluate import evaluate
from dlreg.run.experiment import Experiment
from dlreg.run.fitter import Fitter


def oracle(values, patience, min_delta):
    """Early stopping written once more: (epoch of the best, epoch of the stop or None), from 1."""
    best, at, wait = math.inf, 0, 0
    for epoch, value in enumerate(values, 1):
        if best - value > min_delta or at == 0:
            best, at, wait = value, epoch, 0
        else:
            wait += 1
            if wait == patience:
                return at, epoch
    return at, None


def curves(n=800):
    """Noisy, U-shaped, flat and tied curves; quarters, so that differences are exact and ties are frequent."""
    rng = np.random.default_rng(0)
    for i in range(n):
        length = int(rng.integers(1, 30))
        valley = np.abs(np.arange(length) - rng.integers(0, 20))
        values = rng.integers(0, 12, length) if i % 2 else valley + rng.integers(0, 4, length)
        yield (values / 4).tolist(), int(rng.integers(1, 6)), float(rng.choice([0.0, 0.25, 0.5]))


def test_patience_against_an_oracle_and_the_best_weights_bit_for_bit():
    model = nn.Linear(2, 2)
    for values, patience, min_delta in curves():
        part = EarlyStopping(patience=patience, min_delta=min_delta, monitor="val_loss", retrain="none")
        begun(part, model=model)
        history, weights, stopped = [], [], None
        for epoch, value in enumerate(values, 1):
            with torch.no_grad():
                model.weight.normal_()
            weights.append(model.weight.detach().clone())
            history.append({"epoch": epoch, "val_loss": value, "val_error": 0.0})
            if part.end_epoch(model, history):
                stopped = epoch
                break
        best, stop = oracle(values, patience, min_delta)
        assert stopped == stop
        assert best_epoch([row["val_loss"] for row in history], min_delta) == best
        assert torch.equal(part.finish(model).weight, weights[best - 1])


def test_monitoring_the_error(run):
    result = run("reg=early_stopping", "reg.early_stopping.monitor=val_error", "reg.early_stopping.patience=2", "epochs=30",
                 "optimizer=adam", "optimizer.lr=0.02")  # fmt: skip
    errors = [row["val_error"] for row in result.history]
    best, stop = oracle(errors, 2, 0.0)
    assert len(errors) == (stop or 30) < 30
    assert result.val["last"]["error"] == errors[best - 1]


STOP = ("reg=early_stopping", "optimizer=adam", "optimizer.lr=0.02", "epochs=40", "reg.early_stopping.patience=2",
        "model.hidden=[64]", "data.val_size=64")  # fmt: skip


def test_retrain_for_as_many_updates(run):
    """Algorithm 7.2: from the start, on training + validation set, for exactly the updates that the best weights had."""
    plain, again = run(*STOP), run(*STOP, "reg.early_stopping.retrain=steps")
    n = len(plain.history)
    best = best_epoch([row["val_loss"] for row in plain.history], 0.0)
    steps = best * 2  # 128 samples in batches of 64
    assert n < 40
    assert [row["train_loss"] for row in again.history[:n]] == [row["train_loss"] for row in plain.history]
    later = again.history[n:]
    assert len(later) == math.ceil(steps / 3)  # 128 + 64 samples: 3 updates an epoch
    assert all(row["val_loss"] is None and row["epoch"] == n + i for i, row in enumerate(later, 1))
    assert f"again on training and validation set for {steps} updates" in again.remarks[-1]
    assert again.val == {"last": None, "best_val": None} and again.test["best_val"] is None
    assert again.test["last"] != plain.test["last"]


@pytest.mark.parametrize(("size", "limit", "text"), [(128, 40, "fell below"), (16, 8, "did not reach")])
def test_retrain_until_the_loss(size, limit, text, run):
    """Algorithm 7.3: go on from the best weights until the validation loss is below the training loss at the stop."""
    words = [w for w in STOP if not w.startswith("epochs")]
    result = run(*words, f"epochs={limit}", f"data.train_size={size}", "reg.early_stopping.retrain=loss")
    assert text in result.remarks[-1]
    assert result.val["last"] is None
    first = [row for row in result.history if row["val_loss"] is not None]
    assert (len(result.history) == len(first) + limit) == (text == "did not reach")


@pytest.mark.parametrize("committee", ["ensemble", "bagging"])
def test_going_on_from_several_models_is_refused_before_any_work(committee, settings):
    words = ["reg.early_stopping.retrain=loss", f"reg.{committee}.k=2", "epochs=1"]
    wrong = settings(f"reg=[early_stopping,{committee}]", *words)
    with pytest.raises(UserError, match=f"list early_stopping after {committee}"):
        Experiment.of(wrong).run(Silent())
    assert not Path(wrong.outputs).exists()
    assert Experiment.of(settings(f"reg=[{committee},early_stopping]", *words)).run(Silent()).status == "done"


@pytest.mark.parametrize("retrain", ["steps", "loss"])
def test_a_killed_retraining_continues_bit_identically(retrain, settings):
    base = settings().outputs
    words = [*STOP[:3], "epochs=6", "reg.early_stopping.patience=1", f"reg.early_stopping.retrain={retrain}"]
    whole = Experiment.of(settings(*words, f"outputs={base}/whole")).run(Silent())
    cut = settings(*words, f"outputs={base}/cut")
    killed, done = 0, None
    while done is None:
        try:
            done = Experiment.of(cut).run(KillAfter(1))
        except Killed:
            killed += 1
    assert killed == len(whole.history) and done.test == whole.test
    assert [row["train_loss"] for row in done.history] == [row["train_loss"] for row in whole.history]


class Killed(BaseException):
    pass


class KillAfter(Silent):
    """Kills the run at its n-th epoch, whichever fit it belongs to; counts them."""

    def __init__(self, n):
        self.left, self.seen = n, 0

    def epoch(self, row):
        self.seen += 1
        self.left -= 1
        if self.left == 0:
            raise Killed


def test_ema_is_its_recursion():
    torch.manual_seed(0)
    model = nn.Linear(3, 2, dtype=torch.float64)
    part = begun(EMA(decay=0.9), model=model)
    average = None
    for t in range(1, 151):  # the decay rises until t = 81
        with torch.no_grad():
            model.weight.normal_()
        part.project(model)
        w, decay = model.weight.detach().numpy().copy(), min(0.9, t / (9 + t))
        average = w if average is None else decay * average + (1 - decay) * w
    assert np.abs(part.finish(model).weight.detach().numpy() - average).max() < 1e-14


def test_swa_is_the_mean_of_its_epochs():
    torch.manual_seed(0)
    model = nn.Linear(3, 2, dtype=torch.float64)
    part = begun(SWA(start=0.6), model=model)
    kept = []
    for epoch in range(10):
        part.context.progress = Progress(epoch * 5 + 4, 5, 50)
        with torch.no_grad():
            model.weight.normal_()
        part.end_epoch(model, [])
        kept += [model.weight.detach().numpy().copy()] if epoch + 1 > 6 else []
    assert part.state["epochs"] == len(kept) == 4
    assert np.abs(part.finish(model).weight.detach().numpy() - np.mean(kept, 0)).max() < 1e-14


def test_swa_gathers_batch_norms_statistics_anew(settings):
    """After the run, running mean and variance are those of the averaged weights on the training set (one batch here)."""
    chosen = settings("reg=swa", "norm=batch", "epochs=4", "reg.swa.start=0.5", "model.hidden=[8]")
    data = parts.make_data(chosen, parts.load(chosen.data))
    fitter = Fitter(chosen, _folder(chosen), Silent())
    model = parts.make_chain(chosen).train(fitter, data).last
    layer = next(m for m in model.modules() if isinstance(m, nn.BatchNorm1d))
    inside = []
    layer.register_forward_hook(lambda _, inputs, __: inside.append(inputs[0]))
    with torch.no_grad():
        model(to_unit(data.train.x))
    assert torch.allclose(layer.running_mean, inside[0].mean(0), atol=1e-5)
    assert torch.allclose(layer.running_var, inside[0].var(0), rtol=1e-4, atol=1e-6)
    assert layer.momentum == 0.1 and not model.training


def _folder(settings):
    folder = Experiment.of(settings).folder
    folder.mkdir(parents=True)
    return folder


class Fixed(nn.Module):
    """A member that says what it is told, whatever it is asked."""

    def __init__(self, probabilities):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.logits = torch.as_tensor(probabilities).log()

    def forward(self, x):
        return self.logits


def test_committee_averages_probabilities():
    p = torch.rand(5, 7, 3, dtype=torch.float64).softmax(2)
    found = Committee([Fixed(one) for one in p], "average")(None).exp()
    assert (found - p.mean(0)).abs().max() < 1e-14


def test_committee_counts_votes():
    p = torch.tensor([[[0.6, 0.3, 0.1]], [[0.2, 0.7, 0.1]], [[0.4, 0.35, 0.25]]], dtype=torch.float64)
    found = Committee([Fixed(one) for one in p], "vote")(None).exp()
    assert torch.allclose(found, torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64) / 6)


@pytest.mark.parametrize("k", [2, 5, 20])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_error_of_an_ensemble(k, share):
    """Member errors of variance v and covariance c = share v: the average's has expected square v / k + (k - 1) c / k."""
    n, v = 40_000, 1e-4
    g = torch.Generator().manual_seed(k)
    common = torch.randn(1, n, generator=g, dtype=torch.float64)
    own = torch.randn(k, n, generator=g, dtype=torch.float64)
    errors = math.sqrt(v) * (math.sqrt(share) * common + math.sqrt(1 - share) * own)
    members = [Fixed(torch.stack([0.5 + e, 0.5 - e], 1)) for e in errors]
    found = (Committee(members, "average")(None).exp()[:, 0] - 0.5).square()
    wanted = v / k + (k - 1) * share * v / k
    assert abs(found.mean() - wanted) < 5 * found.std() / math.sqrt(n)


def test_out_of_bag_error_by_hand():
    """Sample 0 is missed by member 1 only, sample 1 by nobody, sample 2 by both, sample 3 by member 0."""
    x, y = torch.arange(4.0).view(4, 1), torch.tensor([0, 1, 1, 0])
    answers = [torch.tensor([[9, 1], [9, 1], [6, 4], [2, 8]]) / 10, torch.tensor([[8, 2], [9, 1], [3, 7], [9, 1]]) / 10]

    class Table(nn.Module):
        def __init__(self, rows):
            super().__init__()
            self.rows = rows.log()

        def forward(self, inputs):
            return self.rows[inputs[:, 0].long()]

    bags = [torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 3, 3])]
    error, covered = out_of_bag([Table(a) for a in answers], bags, data_of(x, y, 2), "average")
    assert covered == 3
    assert error == pytest.approx(1 / 3)  # 0: member 1 is right; 2: (.6+.3, .4+.7) is right; 3: member 0 is wrong


def test_ensemble_is_at_most_its_mean_member(settings):
    """Cross-entropy is convex in the probabilities: on any data, the average does at most its members' mean."""
    chosen = settings("reg=ensemble", "reg.ensemble.k=3", "optimizer=adam", "epochs=3")
    data = parts.make_data(chosen, parts.load(chosen.data))
    fitter = Fitter(chosen, _folder(chosen), Silent())
    chain = parts.make_chain(chosen)
    chain.begin("chain", Context(chosen.seed, torch.device("cpu")))
    fitted = chain.train(fitter, data)
    test = data.test.open()
    members = [evaluate(m, test)["loss"] for m in fitted.last.members]
    assert len(set(members)) == 3
    assert evaluate(fitted.last, test)["loss"] <= np.mean(members)
    assert fitter.calls == 3


def test_an_ensemble_of_one_is_the_plain_run(run, settings):
    words = ("optimizer=adam", "norm=batch")
    one, plain = run("reg=ensemble", "reg.ensemble.k=1", *words), run(*words)
    assert one.test == plain.test and one.parameters == plain.parameters


def test_bagging_records_its_out_of_bag_error(run):
    result = run("reg=bagging", "reg.bagging.k=4", "optimizer=adam", "epochs=3")
    assert 0 < result.history[-1]["oob_error"] < 1
    assert len(result.history) == 3 and result.parameters == 4 * (64 * 16 + 16 + 160 + 10)
    assert any("out-of-bag error" in text and "of 128 training samples" in text for text in result.remarks)
    assert result.val["best_val"] is not None


@pytest.mark.parametrize("words", [("reg=bagging", "reg.bagging.k=3"), ("reg=ensemble", "reg.ensemble.k=3")])
def test_a_killed_committee_resumes_at_the_member_it_was_in(words, settings):
    base = settings().outputs
    whole = Experiment.of(settings(*words, "epochs=3", f"outputs={base}/whole")).run(Silent())
    cut = settings(*words, "epochs=3", f"outputs={base}/cut")
    with pytest.raises(Killed):
        Experiment.of(cut).run(KillAfter(5))  # in the second member's second epoch
    rest = KillAfter(100)
    found = Experiment.of(cut).run(rest)
    assert rest.seen == 4  # one of the second member and three of the third: nothing is trained twice
    assert found.test == whole.test
    both = settings(*words, "epochs=3", f"outputs={base}/whole"), cut
    weights = [durable.read_listed(Experiment.of(s).folder, "weights") for s in both]
    assert weights[0] == weights[1]
    assert (
        found.seconds > sum(row["seconds"] for row in found.history) * 0.99
    )  # all members, whenever they were trained


def test_bagging_and_ensemble_together_vary_both(run):
    result = run("reg=[bagging,ensemble]", "reg.bagging.k=2", "reg.ensemble.k=2", "epochs=1")
    assert result.parameters == 4 * (64 * 16 + 16 + 160 + 10)


def test_members_are_not_copies(settings):
    chosen = settings("reg=bagging", "reg.bagging.k=2", "epochs=1")
    data = parts.make_data(chosen, parts.load(chosen.data))
    chain = parts.make_chain(chosen)
    chain.begin("chain", Context(chosen.seed, torch.device("cpu")))
    fitted = chain.train(Fitter(chosen, _folder(chosen), Silent()), data)
    first, second = (torch.cat([p.flatten() for p in m.parameters()]) for m in fitted.last.members)
    assert not torch.equal(first, second)
    assert F.cosine_similarity(first, second, 0) > 0.9  # the same initial weights: only the sample differs
