"""What optimizers promise that draw samples or moves, or wrap another: SVRG, SAM, those without a gradient."""

import math

import pytest
import torch
from conftest import Silent
from optimizers import DERIVATIVE_FREE, closure_of, descend, make, node, quadratic, weights

from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.optimizer.base import Rule
from dlreg.run import loop as train
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.machine import resolve


def least_squares(n=40, d=5, noise=0.5):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = x @ torch.ones(d, dtype=torch.float64) + noise * torch.randn(n, generator=generator, dtype=torch.float64)
    return x, y, torch.linalg.lstsq(x, y).solution


def single_samples(optimizer, w, x, y, steps):
    """Stochastic steps on one sample each; returns the distances to the solution."""
    order = torch.randint(len(x), (steps,), generator=torch.Generator().manual_seed(1))
    solution = torch.linalg.lstsq(x, y).solution
    distances = []
    for i in order:
        optimizer.step(closure_of(optimizer, lambda i=i: (x[i] @ w - y[i]) ** 2 / 2))
        distances.append(float((w.detach() - solution).norm()))
    return distances


def test_svrg_converges_linearly_where_sgd_has_a_noise_floor():
    x, y, _ = least_squares()
    ends = {}
    for name, h in (("sgd", {}), ("svrg", {"m": 80})):
        w = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
        optimizer = make(name, [w], lr=0.02, **h)

        def whole(w=w, optimizer=optimizer):
            optimizer.zero_grad()
            (((x @ w - y) ** 2).mean() / 2).backward()

        if name == "svrg":
            optimizer.whole = whole
        ends[name] = single_samples(optimizer, w, x, y, 4000)
    assert ends["svrg"][-1] < 1e-10
    assert min(ends["sgd"][-1000:]) > 1e-3
    rates = [ends["svrg"][t] / ends["svrg"][t - 400] for t in (799, 1199, 1599)]
    assert max(rates) < 0.5  # every 400 steps at least halve the distance


def test_svrg_direction_is_the_papers():
    x, y, _ = least_squares()
    w = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = make("svrg", [w], lr=0.1, m=10)

    def whole():
        w.grad = x.T @ (x @ w.detach() - y) / len(x)

    optimizer.whole = whole
    expected = snapshot = torch.zeros(5, dtype=torch.float64)
    full = x.T @ (x @ snapshot - y) / len(x)
    for i in range(5):
        optimizer.step(closure_of(optimizer, lambda i=i: (x[i] @ w - y[i]) ** 2 / 2))
        here, there = x[i] * (x[i] @ expected - y[i]), x[i] * (x[i] @ snapshot - y[i])
        expected = expected - 0.1 * (here - there + full)
    assert (w - expected).abs().max() < 1e-14


def test_the_fit_gives_svrg_the_gradient_of_the_whole_training_set(settings, monkeypatch):
    """Against one pass over all samples at once, with a penalty and an uneven last batch."""
    seen = []
    original = train.whole_gradient

    def watched(made, data, loop):
        model = made.model
        original(made, data, loop)
        found = [p.grad.clone() for p in model.parameters()]
        x, y = to_unit(data.train.x), torch.eye(data.classes)[data.train.y]
        made.optimizer.zero_grad()
        train.forward(made, x, y)[2].backward()
        seen.append(max(float((a - p.grad).abs().max()) for a, p in zip(found, model.parameters(), strict=True)))
        for p, g in zip(model.parameters(), found, strict=True):
            p.grad = g

    monkeypatch.setattr(train, "whole_gradient", watched)
    result = Experiment.of(settings("optimizer=svrg", "optimizer.m=3", "reg=l2", "batch_size=50", "epochs=2")).run(
        Silent()
    )
    assert result.status == "done"
    assert len(seen) > 2 and max(seen) < 1e-6  # the rehearsal's are among them


@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_sam_is_the_base_at_the_gradient_nearby(rho):
    """Against Algorithm 1 by hand: e = rho g / |g| over all weights, then momentum's step with the gradient at w + e."""
    a, best, w, loss = quadratic((1.0, 5.0, 20.0))
    x, v = w.detach().clone(), torch.zeros(3)
    base = {**node("sam")["base"], "lr": 0.01, "momentum": 0.8}
    descend(make("sam", [w], rho=rho, base=base), loss, 10)
    for _ in range(10):
        g = a @ (x - best)
        v = 0.8 * v + a @ (x + rho * g / g.norm() - best)
        x = x - 0.01 * v
    assert (w - x).abs().max() < 1e-12


def test_sam_norm_is_over_all_weights():
    first, second = weights(0, ((2,), (3,)))
    seen = []

    def loss():
        seen.append((first.detach().clone(), second.detach().clone()))
        return (first**2).sum() + (second**2).sum()

    descend(make("sam", [first, second], rho=0.1), loss, 1)
    moves = [b - a for a, b in zip(seen[0], seen[1], strict=True)]
    assert math.isclose(sum(float((m**2).sum()) for m in moves), 0.01, rel_tol=1e-9)


def test_sam_takes_any_first_order_base_and_its_schedule(settings):
    words = ("optimizer=sam", "optimizer@optimizer.base=adam", "optimizer.base.lr=0.002", "schedule=linear")
    result = Experiment.of(settings(*words)).run(Silent())
    assert result.status == "done" and result.config["optimizer"]["base"]["betas"] == [0.9, 0.999]
    rates = [row["lr"] for row in result.history]
    assert rates[0] > rates[1] and rates[0] <= 0.002


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("optimizer.base.lr=-1", r"optimizer\.base\.lr=-1.* must be greater than 0"),
        ("optimizer.base.lrr=1", r"optimizer\.base\.lrr.*no such key"),
        ("optimizer@optimizer.base=lbfgs", "LBFGS calls for passes of its own"),
        ("optimizer@optimizer.base=adahessian", "AdaHessian calls for passes of its own"),
        ("optimizer@optimizer.base=sam", "SAM calls for passes of its own"),
        ("optimizer.base=3", "optimizer.base=3"),
    ],
)
def test_sam_refuses_a_bad_base(word, text, settings):
    with pytest.raises(UserError, match=text):
        Experiment.of(settings("optimizer=sam", word)).run(Silent())


def test_sam_lets_batch_norm_remember_the_first_pass_alone(settings):
    """One step from the same start leaves the running moments that a step of the base leaves."""
    stats = {}
    for words in (("optimizer=momentum",), ("optimizer=sam", "optimizer.rho=2.0")):
        chosen = resolve(settings(*words, "norm=batch"))
        data = parts.make_data(chosen, parts.load(chosen.data))
        made = parts.make_parts(chosen, data, 0)
        model = made.model
        x, y = to_unit(data.train.x[:64]), torch.eye(10)[data.train.y[:64]]
        made.context.begin_epoch(0)
        model.train()
        train.train_step(made, x, y)
        stats[words] = {k: v for k, v in model.state_dict().items() if "running" in k or "tracked" in k}
        assert all(m.track_running_stats for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d))
    plain, sharp = stats.values()
    assert plain and all(torch.equal(plain[k], sharp[k]) for k in plain)


def test_evolution_is_unbiased():
    """The mirrored estimate of a quadratic's gradient: the mean over 3000 steps within 6 standard errors."""
    a, best, w, loss = quadratic((1.0, 3.0, 9.0))
    start = w.detach().clone()
    gradient = a @ (start - best)
    torch.manual_seed(0)
    optimizer = make("evolution", [w], lr=1.0, pairs=1, sigma=0.1)
    found = []
    for _ in range(3000):
        optimizer.step(closure_of(optimizer, loss))
        found.append(start - w.detach())
        with torch.no_grad():
            w.copy_(start)
    found = torch.stack(found)
    assert ((found.mean(0) - gradient).abs() < 6 * found.std(0) / math.sqrt(3000)).all()
    wrong = (found.mean(0) / 2 - gradient).abs() > 6 * found.std(0) / math.sqrt(3000)
    assert wrong.any()  # a missing factor of two would be seen


def test_random_search_never_goes_uphill_and_reaches_a_quadratics_minimum():
    _, _, w, loss = quadratic((1.0, 10.0))
    torch.manual_seed(0)
    losses = descend(make("random_search", [w], lr=0.1, trials=5, growth=1.5), loss, 400)
    assert all(b <= a for a, b in zip(losses, losses[1:], strict=False))
    assert losses[-1] < 1e-12


def test_annealing_follows_boltzmann_at_constant_temperature():
    """On f = w^2/2 the stationary law is N(0, T): its variance within 6 standard errors (batch means)."""
    w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    torch.manual_seed(0)
    optimizer = make("annealing", [w], lr=1.0, temperature=0.25, cooling=1.0, trials=1)
    closure, squares = closure_of(optimizer, lambda: (w**2).sum() / 2), []
    for _ in range(8_000):
        optimizer.step(closure)
        squares.append(float(w.detach() ** 2))
    means = torch.tensor(squares).view(40, -1).mean(1)
    assert abs(float(means.mean()) - 0.25) < 6 * float(means.std()) / math.sqrt(40)


def test_annealing_at_no_temperature_only_falls():
    _, _, w, loss = quadratic()
    losses = descend(make("annealing", [w], lr=0.1, temperature=1e-300), loss, 200)
    assert all(b <= a for a, b in zip(losses, losses[1:], strict=False)) and losses[-1] < losses[0] / 10


def test_derivative_free_steps_make_no_backward_pass(settings):
    for name in DERIVATIVE_FREE:
        chosen = resolve(settings(f"optimizer={name}"))
        data = parts.make_data(chosen, parts.load(chosen.data))
        made = parts.make_parts(chosen, data, 0)
        made.context.begin_epoch(0)
        x, y = to_unit(data.train.x[:64]), torch.eye(10)[data.train.y[:64]]
        train.train_step(made, x, y)
        assert all(p.grad is None for p in made.model.parameters())


def test_bagged_fits_and_seeds_draw_differently(run):
    """The numbers of a step follow the run's seed."""
    ends = [
        run("optimizer=adahessian", "optimizer.samples=1", f"seed={seed}").history[-1]["train_loss"] for seed in (0, 1)
    ]
    assert ends[0] != ends[1]


def test_a_rule_is_a_torch_optimizer():
    assert issubclass(Rule, torch.optim.Optimizer)
    (w,) = weights(0, ((3,),))
    optimizer = make("lion", [w])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    w.grad = torch.ones(3, dtype=torch.float64)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == node("lion")["lr"] / 2
