"""Learning without labels: VAT's direction, entropy and pseudo-labels against their formulas, and the pool they draw from."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from test_adversarial import D, K, batch, deep
from toy import begun

from dlreg.attack.base import length
from dlreg.config.compose import compose
from dlreg.context import Progress
from dlreg.errors import UserError
from dlreg.passes import as_it_predicts
from dlreg.reg.adversarial import divergence
from dlreg.reg.unlabelled import EntropyMinimization, PseudoLabel
from dlreg.reg.virtual import VAT
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.result import identity, run_id


def test_the_direction_is_the_leading_eigenvector_of_fishers_matrix():
    """J' (diag p - p p') J of each sample, by autograd; the Hessian of the divergence at 0."""
    model, (x, _) = deep().eval(), batch()
    d = begun(VAT(alpha=1.0, eps=1.0, xi=1e-4, steps=200, unlabelled=1, labelled=True)).direction(model, x)
    for one, found in zip(x, d, strict=True):
        J = torch.autograd.functional.jacobian(lambda v: model(v[None])[0], one)
        p = model(one[None])[0].softmax(0).detach()
        fisher = J.T @ (torch.diag(p) - torch.outer(p, p)) @ J
        hessian = torch.autograd.functional.hessian(
            lambda r, one=one: divergence(model(one[None]).detach(), model((one + r)[None])).sum(),
            torch.zeros_like(one),
        )
        assert torch.allclose(fisher, hessian, atol=1e-12)
        values, vectors = torch.linalg.eigh(fisher)
        if values[-2] / values[-1] < 0.95:  # the iteration tells them apart
            assert abs(float(vectors[:, -1] @ found)) > 1 - 1e-5
    assert torch.allclose(length(d), torch.ones(len(x), dtype=d.dtype))


def test_on_a_small_ball_the_cost_is_half_eps_squared_times_the_eigenvalue():
    model, (x, y) = deep().eval(), batch()
    part = begun(VAT(alpha=3.0, eps=1e-3, xi=1e-4, steps=300, unlabelled=1, labelled=True))
    part.batch(model, x, y)
    found, top = part.penalty(model, x, y, model(x)), []
    for one in x:
        J = torch.autograd.functional.jacobian(lambda v: model(v[None])[0], one)
        p = model(one[None])[0].softmax(0).detach()
        top.append(torch.linalg.eigvalsh(J.T @ (torch.diag(p) - torch.outer(p, p)) @ J)[-1])
    assert torch.isclose(found, 3.0 * 1e-6 / 2 * torch.stack(top).mean(), rtol=5e-3)


def pooled(part, n=40):
    part = begun(part)
    part.context.pool = torch.rand(n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    return part


def test_vat_sees_the_batch_and_the_pool():
    model, (x, y) = deep(), batch()
    part = pooled(VAT(alpha=1.0, eps=0.5, xi=1e-3, steps=1, unlabelled=9, labelled=True))
    part.batch(model, x, y)
    seen = []
    part.direction = lambda model, x: seen.append(x) or torch.zeros_like(x)
    assert part.penalty(model, x, y, model(x)).abs() >= 0
    assert torch.equal(seen[0], torch.cat([x, part.beside])) and len(part.beside) == 9


def test_vat_on_samples_without_a_label_only_is_vat_of_a_batch_of_them():
    model, (x, y) = deep(), batch()
    alone = pooled(VAT(alpha=1.0, eps=0.5, xi=1e-3, steps=1, unlabelled=9, labelled=False))
    alone.batch(model, x, y)
    plain = begun(VAT(alpha=1.0, eps=0.5, xi=1e-3, steps=1, unlabelled=9, labelled=True))
    plain.batch(model, alone.beside, None)
    for part in (alone, plain):  # the same draws of the first direction
        part.context.begin_epoch(1)
    found = alone.penalty(model, x, y, model(x)), plain.penalty(model, alone.beside, None, model(alone.beside))
    assert torch.equal(*found) and found[0] > 0


def test_entropy_is_its_formula():
    model, (x, y) = deep(), batch()
    part = pooled(EntropyMinimization(alpha=0.3, unlabelled=9))
    part.batch(model, x, y)
    p = model(part.beside).softmax(1)
    assert torch.isclose(part.penalty(model, x, y, model(x)), -0.3 * (p * p.log()).sum(1).mean(), rtol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_pseudo_labels_are_the_classes_predicted_now(threshold):
    model, (x, y) = deep(), batch()
    part = pooled(PseudoLabel(alpha=2.0, unlabelled=9, start=0.0, full=0.0, threshold=threshold))
    part.batch(model, x, y)
    total = 0.0
    for p in model(part.beside).softmax(1).detach():
        total += -math.log(p.max()) if p.max() >= threshold else 0.0
    found = part.penalty(model, x, y, model(x))
    assert math.isclose(found.item(), 2.0 * total / 9, rel_tol=1e-12) and total > 0


def test_the_strength_of_pseudo_labels_rises_as_in_the_paper():
    part = pooled(PseudoLabel(alpha=3.0, unlabelled=1, start=0.1, full=0.6, threshold=0.0))
    found = []
    for step in (0, 10, 35, 60, 99):
        part.context.progress = Progress(step, 1, 100)
        found.append(part.strength)
    assert found == pytest.approx([0, 0, 1.5, 3, 3])


def test_passes_on_the_pool_move_no_running_moment():
    model, (x, y) = deep(), batch()
    model[1].momentum = 0.1
    logits = model(x)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for part in (
        VAT(alpha=1.0, eps=0.5, xi=1e-3, steps=1, unlabelled=9, labelled=True),
        EntropyMinimization(alpha=1.0, unlabelled=9),
        PseudoLabel(alpha=1.0, unlabelled=9, start=0.0, full=0.0, threshold=0.0),
    ):
        begun_ = pooled(part)
        begun_.batch(model, x, y)
        begun_.penalty(model, x, y, logits)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def data_of(*words):
    settings = compose(["device=cpu", *words])
    return parts.make_data(settings, parts.load(settings.data))


def test_labels_are_kept_by_a_stratified_few_and_the_others_are_the_pool():
    whole, few = data_of(), data_of("data.labelled=100")
    assert len(few.train) == 100 and few.train.y.bincount(minlength=10).min() >= 9
    assert torch.equal(torch.cat([few.train.x, few.pool]), whole.train.x) and whole.pool is None
    assert torch.equal(few.val.x, whole.val.x)
    both = torch.zeros(1, *few.shape)
    assert torch.equal(few.normalization(both), whole.normalization(both))  # images need no label for it


def test_all_labelled_is_the_run_that_it_was(settings):
    plain = compose(["device=cpu"]).model_dump()
    without = {k: v for k, v in plain["data"].items() if k != "labelled"}
    assert run_id(plain) == run_id(plain | {"data": without}) and "labelled" not in identity(plain)["data"]
    assert run_id(compose(["device=cpu", "data.labelled=100"]).model_dump()) != run_id(plain)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.labelled=5"], "data.labelled=5 asks for 5 of 128 samples; allowed: 10"),
        (["data.labelled=129"], "allowed: 10 .* to 128"),
        (["reg=entropy", "data.labelled=null"], "reg=entropy learns from samples without a label: give data.labelled"),
        (["reg=vat", "reg.vat.labelled=false"], "reg.vat.labelled=false leaves .* only: give data.labelled=100"),
        (["reg=vat", "loss=mse"], "reg=vat works with probabilities"),
    ],
)
def test_what_cannot_work_is_refused(words, message, settings):
    with pytest.raises(UserError, match=message):
        Experiment.of(settings(*words)).run(Silent())


def test_pseudo_labels_of_a_sigmoid_loss_as_in_the_paper(run):
    assert run("reg=pseudo_label", "loss=bce", "reg.pseudo_label.start=0", "epochs=2").status == "done"


def test_the_same_pool_is_seen_however_often_the_loss_is_asked_for():
    model, (x, y) = deep(), batch()
    part = pooled(EntropyMinimization(alpha=0.3, unlabelled=9))
    part.batch(model, x, y)
    with as_it_predicts(model):
        logits = model(x)
        assert torch.equal(part.penalty(model, x, y, logits), part.penalty(model, x, y, logits))
    assert F.cross_entropy(logits, y).isfinite() and logits.shape[1] == K
