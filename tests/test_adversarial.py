"""Adversarial training: closed forms of linear models, the ball, and passes that leave no trace."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toy import begun

from dlreg.attack.base import Ascent, Ball, length, unit
from dlreg.context import Context
from dlreg.passes import as_it_predicts
from dlreg.reg.adversarial import FGSM, PGD, TRADES, divergence

N, D, K = 7, 12, 3


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).double()


def deep():
    return net(nn.Linear(D, 9), nn.BatchNorm1d(9, momentum=0.0), nn.Tanh(), nn.Linear(9, K))


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(N, D, generator=generator, dtype=torch.float64)
    return x, torch.eye(K, dtype=torch.float64)[torch.arange(N) % K]


@pytest.mark.parametrize("steps", [1, 9])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_on_two_linear_classes_the_loss_is_that_of_the_margin_less_eps_times_the_dual_norm(norm, dual, steps):
    """Goodfellow et al. 2015, section 5: loss(margin - eps |w|_dual), and more steps find the same point."""
    model, eps = net(nn.Linear(D, 2)), 0.05
    x, y = batch()[0], torch.eye(2, dtype=torch.float64)[torch.arange(N) % 2]
    part = begun(PGD(eps=eps, norm=norm, mix=0.0, random_start=False, steps=steps, step_size=eps))
    found = F.cross_entropy(model(part.batch(model, x, y)[0]), y)
    sign = 2 * y[:, 0] - 1
    w, b = (model[0].weight[0] - model[0].weight[1]), (model[0].bias[0] - model[0].bias[1])
    assert torch.isclose(found, F.softplus(-(sign * (x @ w + b) - eps * w.norm(dual))).mean(), rtol=1e-12)


def test_fgsm_is_the_sign_of_the_gradient_that_autograd_gives():
    model, (x, y) = deep(), batch()
    part = begun(FGSM(eps=0.1, norm="linf", mix=0.0, random_start=False, step_size=None))
    leaf = x.clone().requires_grad_()
    F.cross_entropy(model.eval()(leaf), y).backward()
    assert torch.equal(part.batch(model.train(), x, y)[0], x + 0.1 * leaf.grad.sign())


def test_mix_weighs_the_losses_of_clean_and_attacked_samples():
    model, (x, y) = deep(), batch()
    part = begun(FGSM(eps=0.1, norm="linf", mix=0.3, random_start=False, step_size=None))
    only = begun(FGSM(eps=0.1, norm="linf", mix=0.0, random_start=False, step_size=None))
    logits = model(x)
    found = F.cross_entropy(logits, y) + part.penalty(model, x, y, logits)
    other = F.cross_entropy(model(only.batch(model, x, y)[0]), y)
    assert torch.isclose(found, 0.3 * F.cross_entropy(logits, y) + 0.7 * other, rtol=1e-12)
    assert part.batch(model, x, y)[0] is x


def reference_trades(model, x, logits, part, steps, size):
    """Brute force: the authors' loop, written out."""
    generator = torch.Generator().manual_seed(begun(TRADES(**SMALL)).generator.initial_seed())
    model.eval()
    here = x + 1e-3 * torch.empty_like(x).normal_(generator=generator)
    for _ in range(steps):
        here = here.detach().requires_grad_()
        loss = F.kl_div(model(here).log_softmax(1), model(x).softmax(1), reduction="sum")
        (g,) = torch.autograd.grad(loss, here)
        here = torch.clamp(here + size * g.sign(), x - part.ball.eps, x + part.ball.eps)
    model.train()
    return 2.0 * F.kl_div(model(here).log_softmax(1), logits.softmax(1), reduction="batchmean")


SMALL = {"beta": 2.0, "eps": 0.1, "norm": "linf", "steps": 3, "step_size": 0.03}


def test_trades_is_the_authors_loop():
    model, (x, y) = deep(), batch()
    part = begun(TRADES(**SMALL))
    logits = model(x)
    found, wanted = part.penalty(model, x, y, logits), reference_trades(model, x, logits, part, 3, 0.03)
    assert torch.isclose(found, wanted, rtol=1e-10)
    grads = [torch.autograd.grad(value, model[0].weight, retain_graph=True)[0] for value in (found, wanted)]
    assert torch.allclose(*grads, rtol=1e-8, atol=1e-14) and grads[0].abs().max() > 1e-6


def test_the_divergence_is_that_of_the_probabilities():
    a, b = batch()[0][:, :K], batch(1)[0][:, :K]
    p, q = a.softmax(1), b.softmax(1)
    assert torch.allclose(divergence(a, b), (p * (p / q).log()).sum(1), rtol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [False, True])
def test_every_point_is_in_the_ball_and_an_image(norm, random_start):
    model = net(nn.Flatten(), nn.Linear(16, K)).float()
    x, eps = torch.rand(50, 1, 4, 4), 0.4
    y = torch.eye(K)[torch.arange(50) % K]
    part = begun(PGD(eps=eps, norm=norm, mix=0.0, random_start=random_start, steps=5, step_size=None))
    found, _ = part.batch(model, x, y)
    away = found - x
    size = away.abs().flatten(1).amax(1) if norm == "linf" else length(away)
    assert size.max() <= eps * (1 + 1e-6) and size.min() > 0
    assert found.min() >= 0 and found.max() <= 1
    wide = begun(PGD(eps=9.0, norm=norm, mix=0.0, random_start=False, steps=1, step_size=99.0)).batch(model, x, y)[0]
    assert wide.min() >= 0 and wide.max() <= 1


def test_the_random_start_is_uniform_in_the_ball():
    """The share of the volume within r is (r / eps)^d."""
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(20_000, 3, dtype=torch.float64)
    found = Ball(2.0, "l2").inside(x, generator)
    assert (length(found) <= 2.0 * (1 + 1e-12)).all()
    assert abs(float((length(found) < 1.0).double().mean()) - 1 / 8) < 0.01
    box = Ball(2.0, "linf").inside(x, generator)
    assert abs(float((box.abs().amax(1) < 1.0).double().mean()) - 1 / 8) < 0.01


def test_directions_of_very_small_gradients_have_length_one():
    tiny = torch.full((2, 4), 1e-38)
    assert torch.allclose(length(unit(tiny)), torch.ones(2)) and not unit(torch.zeros(2, 4)).any()


@pytest.mark.parametrize(
    "part",
    [
        PGD(eps=0.1, norm="l2", mix=0.0, random_start=True, steps=2, step_size=None),
        FGSM(eps=0.1, norm="linf", mix=0.5, random_start=True, step_size=None),
    ],
)
def test_an_attack_leaves_no_trace(part):
    """No gradient in the weights, no running moment moved, every module in its own mode, nobody else's random numbers."""
    model, (x, y) = net(nn.Linear(D, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, K)), batch()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    begun(part)
    state = torch.get_rng_state()
    part.attacked(model, x, y)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    with as_it_predicts(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == modes


def test_the_loss_that_is_trained_is_the_one_that_is_attacked():
    model, (x, y) = deep(), batch()
    part = begun(FGSM(eps=0.1, norm="linf", mix=0.0, random_start=False, step_size=None))
    part.context.criterion = lambda z, y, reduction="mean": -F.cross_entropy(z, y, reduction=reduction)
    other = begun(FGSM(eps=0.1, norm="linf", mix=0.0, random_start=False, step_size=None))
    away, toward = part.batch(model, x, y)[0] - x, other.batch(model, x, y)[0] - x
    assert torch.allclose(away, -toward) and away.abs().max() > 0


def test_those_that_record_what_the_network_does_look_away():
    context = Context(0, torch.device("cpu"))
    with context.aside():
        assert not context.watching
        with context.aside():
            assert not context.watching
        assert not context.watching
    assert context.watching


def test_more_steps_find_more():
    model, (x, y) = deep(), batch()
    losses = []
    for steps in (1, 4, 16):
        ascent = Ascent(Ball(0.3, "linf"), steps, 0.3 / steps, False)
        with as_it_predicts(model):
            found = ascent(lambda x: F.cross_entropy(model(x), y, reduction="sum"), x, torch.Generator())
            losses.append(F.cross_entropy(model(found), y).item())
    assert losses == sorted(losses)
