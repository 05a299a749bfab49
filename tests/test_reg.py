"""Penalties and constraints against closed forms, in float64, most of them through the real loop."""

import itertools
import math

import pytest
import torch
from torch import nn
from toy import begun, float64, half_squared, linear, regression, train

from dlreg.context import Progress
from dlreg.errors import UserError
from dlreg.reg.base import Chain
from dlreg.reg.clip import ClipNorm
from dlreg.reg.constraints import Lagrangian, NormBall
from dlreg.reg.l0 import L0
from dlreg.reg.maxnorm import MaxNorm
from dlreg.reg.penalties import L1, L2, ElasticNet, L1Late, Lq
from dlreg.reg.sparsity import ActivationL1, KLSparsity
from dlreg.reg.toward import L2To, Tie
from dlreg.reg.weight_decay import WeightDecay
from dlreg.run.experiment import Experiment
from dlreg.run.loop import Parts, train_step

PLAIN = {"layers": None, "biases": False}


def ridge(data, alpha, center=None):
    """argmin over W, b of half the mean squared error + (alpha/2) ||W - center||^2: weights (K, d) and bias."""
    x, y = data.train.x, nn.functional.one_hot(data.train.y, data.classes).double()
    xc, yc = x - x.mean(0), y - y.mean(0)
    center = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64) if center is None else center.T
    gram = xc.T @ xc / len(x) + alpha * torch.eye(x.shape[1], dtype=torch.float64)
    w = torch.linalg.solve(gram, xc.T @ yc / len(x) + alpha * center)
    return w.T, y.mean(0) - x.mean(0) @ w


def mlp(widths=(4, 5, 5, 3), activation=nn.ReLU):
    torch.manual_seed(0)
    layers = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out, dtype=torch.float64), activation()]
    return nn.Sequential(*layers[:-1])


def gradient_of(part, model, seed=0):
    """d penalty / d parameters."""
    begun(part, model=model, seed=seed)
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model.train()
    logits = model(x)
    value = part.penalty(model, x, torch.empty(0), logits)
    model.zero_grad()
    if torch.is_tensor(value) and value.requires_grad:
        value.backward()
    return torch.as_tensor(value).detach(), {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()
    }


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 2.0])
def test_l2_is_ridge(alpha):
    data = regression()
    model = train({"l2": L2(alpha=alpha, **PLAIN)}, data, linear(), lr=1 / (1.5 + alpha), epochs=200)
    w, b = ridge(data, alpha)
    assert (model.weight - w).abs().max() < 1e-10
    assert (model.bias - b).abs().max() < 1e-10  # not penalized


def test_l2_shrinks_each_eigendirection():
    data, alpha = regression(), 0.3
    x = data.train.x - data.train.x.mean(0)
    eigenvalues, q = torch.linalg.eigh(x.T @ x / len(x))
    found = train({"l2": L2(alpha=alpha, **PLAIN)}, data, linear(), lr=0.6, epochs=300)
    free = ridge(data, 0.0)[0]
    assert torch.allclose(found.weight @ q, (free @ q) * eigenvalues / (eigenvalues + alpha), atol=1e-10)


def test_l2_differentiates_twice():
    model = linear(zero=False)
    part = begun(L2(alpha=0.7, **PLAIN), model=model)
    value = part.penalty(model, None, None, None)
    assert abs(float(value.detach()) - 0.35 * float(model.weight.detach().square().sum())) < 1e-12
    (g,) = torch.autograd.grad(value, model.weight, create_graph=True)
    v = torch.randn_like(g)
    (hv,) = torch.autograd.grad(g, model.weight, v)
    assert torch.allclose(g, 0.7 * model.weight, atol=1e-14) and torch.allclose(hv, 0.7 * v, atol=1e-14)


@pytest.mark.parametrize(
    ("part", "slope"),
    [
        (L2(alpha=0.3, **PLAIN), lambda w: 0.3 * w),
        (L1(alpha=0.3, form="subgradient", **PLAIN), lambda w: 0.3 * w.sign()),
        (L1(alpha=0.3, form="proximal", **PLAIN), lambda w: 0 * w),
        (Lq(alpha=0.3, q=2.0, eps=1e-4, **PLAIN), lambda w: 0.3 * w),
        (Lq(alpha=0.3, q=1.0, eps=1e-4, **PLAIN), lambda w: 0.15 * w.sign()),
        (Lq(alpha=0.3, q=4.0, eps=1e-4, **PLAIN), lambda w: 0.6 * w**3),
        (Lq(alpha=0.3, q=0.5, eps=1e-4, **PLAIN), lambda w: 0.075 * w.sign() * w.abs() ** -0.5),
        (ElasticNet(alpha=0.3, l1_ratio=0.25, **PLAIN), lambda w: 0.075 * w.sign() + 0.225 * w),
    ],
    ids=lambda p: type(p).__name__,
)
def test_penalty_gradients(part, slope):
    """Weights get their slope, biases none."""
    model = mlp()
    _, gradients = gradient_of(part, model)
    for name, p in model.named_parameters():
        wanted = slope(p.detach()) if p.dim() > 1 else torch.zeros_like(p)
        assert (gradients[name] - wanted).abs().max() < 1e-12, name


def test_lq_has_no_infinite_pull_at_zero():
    model = linear()
    _, gradients = gradient_of(Lq(alpha=1.0, q=0.5, eps=1e-4, **PLAIN), model)
    assert torch.equal(gradients["weight"], torch.zeros_like(model.weight))


def test_strengths_by_layer():
    """The first pattern that matches decides; names are those of the saved weights without the wrapping `net.`."""
    model = nn.Sequential()
    model.net = mlp()
    part = L2(alpha=0.1, layers={"2": 0.5, "4": 0.0, "*": 0.2}, biases=False)
    _, gradients = gradient_of(part, model)
    for layer, alpha in {"0": 0.2, "2": 0.5, "4": 0.0}.items():
        weight = model.net.get_parameter(f"{layer}.weight")
        assert torch.allclose(gradients[f"net.{layer}.weight"], alpha * weight, atol=1e-15)
    with pytest.raises(UserError, match=r"'head' matches no layer; this model has 0, 2, 4"):
        begun(L2(alpha=0.1, layers={"head": 1.0}, biases=False), model=model)


def test_biases_only_when_asked():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    asked = gradient_of(L2(alpha=1.0, layers=None, biases=True), model.double())[1]
    assert all(torch.allclose(asked[n], p) for n, p in model.named_parameters())
    spared = gradient_of(L2(alpha=1.0, **PLAIN), model)[1]
    assert [n for n, g in spared.items() if g.any()] == ["0.weight"]


def test_proximal_l1_is_the_soft_threshold():
    """X'X/n = h I separates the lasso: w = sign(w*) max(|w*| - alpha/h, 0), zeros included; the subgradient has none."""
    h, alpha = 2.0, 0.06
    data = regression(features=6, isotropic=h)
    free = ridge(data, 0.0)[0]
    wanted = free.sign() * (free.abs() - alpha / h).clamp_min(0)
    assert 3 < int((wanted == 0).sum()) < 15
    found = train({"l1": L1(alpha=alpha, form="proximal", **PLAIN)}, data, linear(6), lr=0.3, epochs=200).weight
    assert (found - wanted).abs().max() < 1e-10
    assert torch.equal(found == 0, wanted == 0)
    rough = train({"l1": L1(alpha=alpha, form="subgradient", **PLAIN)}, data, linear(6), lr=0.01, epochs=600).weight
    assert (rough - wanted).abs().max() < 0.01
    assert not (rough == 0).any()


def test_l1_late_sleeps_first():
    part, model = begun(L1Late(alpha=0.5, form="subgradient", after=0.75, **PLAIN)), linear(zero=False)
    part.setup(model)
    values = []
    for step in range(8):
        part.context.progress = Progress(step, 2, 8)
        values.append(torch.as_tensor(part.penalty(model, None, None, None)).item())
    assert values[:6] == [0.0] * 6
    assert values[6:] == [pytest.approx(0.5 * model.weight.abs().sum().item())] * 2


def test_weight_decay_is_adamw_and_not_l2():
    data, alpha, lr = regression(n=64), 0.3, 0.05

    def after(parts, optimizer):
        return train(parts, data, linear(bias=False, zero=False), batch=16, epochs=5, optimizer=optimizer).weight

    ours = after({"wd": WeightDecay(alpha=alpha, **PLAIN)}, lambda p: torch.optim.Adam(p, lr=lr))
    theirs = after({}, lambda p: torch.optim.AdamW(p, lr=lr, weight_decay=alpha))
    coupled = after({"l2": L2(alpha=alpha, **PLAIN)}, lambda p: torch.optim.Adam(p, lr=lr))
    assert (ours - theirs).abs().max() < 1e-14
    assert (ours - coupled).abs().max() > 1e-2
    parts = WeightDecay(alpha=alpha, **PLAIN), L2(alpha=alpha, **PLAIN)
    sgd = [after({"x": part}, lambda p: torch.optim.SGD(p, lr=lr)) for part in parts]
    assert (sgd[0] - sgd[1]).abs().max() < 1e-14


def test_l2_to_pulls_to_its_point(run, settings):
    data, alpha = regression(), 0.4
    start = linear(zero=False)
    center = start.weight.detach().clone()
    found = train({"l2_to": L2To(alpha=alpha, weights=None, **PLAIN)}, data, start, lr=0.6, epochs=300)
    assert (found.weight - ridge(data, alpha, center)[0]).abs().max() < 1e-10


@pytest.mark.parametrize("updates", [1, 10, 100])
def test_early_stopping_equals_l2_to(updates):
    """tau steps of rate eps on eigenvalues h: the same as alpha = h r / (1 - r), r = (1 - eps h)^tau, toward the start."""
    h, eps = 0.5, 0.1
    data = regression(isotropic=h)
    r = (1 - eps * h) ** updates
    part = L2To(alpha=h * r / (1 - r), weights=None, **PLAIN)
    stopped = train({}, data, linear(zero=False), lr=eps, epochs=updates)
    lr = 0.9 / (h + part.alpha)
    pulled = train({"l2_to": part}, data, linear(zero=False), lr=lr, epochs=60)
    assert (stopped.weight - pulled.weight).abs().max() < 1e-10


def test_l2_to_another_run(run, settings):
    earlier = settings("seed=3")
    run("seed=3")
    folder = Experiment.of(earlier).folder
    result = run("reg=l2_to", f"reg.l2_to.weights={folder}", "reg.l2_to.alpha=5", "optimizer.lr=0.1", "epochs=40")
    assert abs(result.val["last"]["loss"] - Experiment.of(earlier).result().val["last"]["loss"]) < 0.2
    with pytest.raises(UserError, match="no finished run"):
        run("reg=l2_to", "reg.l2_to.weights=nowhere")
    with pytest.raises(UserError, match=r"holds no layers.1.weight of shape"):
        run("reg=l2_to", f"reg.l2_to.weights={folder}", "model.hidden=[8]")


def test_tie_soft():
    model = mlp((4, 4, 4, 3))
    value, gradients = gradient_of(Tie(alpha=0.3, between=None, form="soft"), model)
    difference = model[0].weight - model[2].weight
    assert abs(float(value) - 0.15 * difference.square().sum().item()) < 1e-12
    assert torch.allclose(gradients["0.weight"], 0.3 * difference, atol=1e-14)
    assert torch.allclose(gradients["2.weight"], -0.3 * difference, atol=1e-14)
    assert not gradients["4.weight"].any()


def test_tie_hard_is_one_storage_with_the_summed_gradient():
    free, tied = mlp((4, 4, 4, 3)), mlp((4, 4, 4, 3))
    with torch.no_grad():
        free[2].weight.copy_(free[0].weight)
    begun(Tie(alpha=0.0, between=["0", "2"], form="hard"), model=tied)
    assert tied[0].weight is tied[2].weight
    x = torch.randn(5, 4, dtype=torch.float64)
    for model in (free, tied):
        model(x).square().sum().backward()
    assert torch.allclose(tied[0].weight.grad, free[0].weight.grad + free[2].weight.grad, atol=1e-12)


def test_tie_says_what_it_cannot_do():
    assert "ties nothing" in begun(Tie(alpha=1.0, between=None, form="soft"), model=mlp((4, 5, 6, 3))).remark()
    with pytest.raises(UserError, match=r"must name two of 0, 2, 4"):
        begun(Tie(alpha=1.0, between=["0", "1"], form="soft"), model=mlp())
    with pytest.raises(UserError, match=r"differ in shape: \(5, 4\) and \(3, 5\)"):
        begun(Tie(alpha=1.0, between=["0", "4"], form="soft"), model=mlp())


def test_maxnorm_bounds_every_unit():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 6)).double()
    before = [p.detach().clone() for p in model.parameters()]
    begun(MaxNorm(c=0.5), model=model).project(model)
    for old, p in zip(before, model.parameters(), strict=True):
        if p.dim() == 1:
            assert torch.equal(old, p)
            continue
        norms, were = p.flatten(1).norm(dim=1), old.flatten(1).norm(dim=1)
        assert (norms - were.clamp_max(0.5)).abs().max() < 1e-15
        assert torch.equal(p[were <= 0.5], old[were <= 0.5])
        assert (were > 0.5).any()


def radius(data, c):
    """The alpha at which the ridge solution has length c, by bisection."""
    low, high = 0.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if ridge(data, middle)[0].norm() > c else (low, middle)
    return low


def test_norm_ball_is_constrained_least_squares():
    data = regression()
    c = float(ridge(data, 0.0)[0].norm()) / 2
    found = train({"ball": NormBall(c=c)}, data, linear(), lr=0.6, epochs=300)
    assert (found.weight - ridge(data, radius(data, c))[0]).abs().max() < 1e-10
    assert found.weight.norm() <= c * (1 + 1e-15)
    inside = train({"ball": NormBall(c=100.0)}, data, linear(), lr=0.4, epochs=50)
    assert torch.equal(inside.weight, train({}, data, linear(), lr=0.4, epochs=50).weight)


def test_lagrangian_finds_the_alpha_of_its_ball():
    data = regression()
    c = float(ridge(data, 0.0)[0].norm()) / 2
    part = Lagrangian(c=c, rate=5.0)
    found = train({"lagrangian": part}, data, linear(), lr=0.3, epochs=1000)
    alpha = radius(data, c)
    assert abs(found.weight.norm().item() - c) < 1e-8
    assert abs(float(part.state["multiplier"]) - alpha) < 1e-8
    assert (found.weight - ridge(data, alpha)[0]).abs().max() < 1e-8


def test_clip_norm():
    model = mlp()
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    before = torch.cat([p.grad.flatten() for p in model.parameters()])
    begun(ClipNorm(c=0.5)).gradient(model)
    after = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert abs(float(after.norm()) - 0.5) < 1e-6
    assert torch.allclose(after, before * (0.5 / before.norm()), atol=1e-6)


def test_kl_sparsity_by_hand():
    model, rho, alpha = mlp(activation=nn.Sigmoid), 0.1, 0.7
    value, _ = gradient_of(KLSparsity(alpha=alpha, rho=rho), model)
    h, wanted = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), 0.0
    for layer in model:
        h = layer(h)
        if isinstance(layer, nn.Sigmoid):
            for unit in h.T:
                m = unit.mean().item()
                wanted += alpha * (rho * math.log(rho / m) + (1 - rho) * math.log((1 - rho) / (1 - m)))
    assert abs(float(value) - wanted) < 1e-12


def test_kl_sparsity_on_relu_is_quadratic():
    """Convolutional units average over positions too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten()).double()
    value, _ = gradient_of(KLSparsity(alpha=0.7, rho=0.2), model)
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    h = model[:3](x)
    wanted = sum(0.7 * (h[:, unit].mean().item() - 0.2) ** 2 / 2 for unit in range(3))
    assert abs(float(value) - wanted) < 1e-12


def test_activation_l1_by_hand():
    model = mlp()
    value, _ = gradient_of(ActivationL1(alpha=0.3), model)
    x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hidden = [model[:2](x), model[:4](x)]
    assert abs(float(value) - 0.3 * sum(h.abs().sum().item() for h in hidden) / 7) < 1e-12
    assert "no hidden activation" in begun(ActivationL1(alpha=0.3), model=linear()).remark()


@pytest.mark.parametrize(
    "part",
    [
        lambda: L2(alpha=0.3, **PLAIN),
        lambda: L1(alpha=0.3, form="subgradient", **PLAIN),
        lambda: Lq(alpha=0.3, q=0.5, eps=1e-4, **PLAIN),
        lambda: ElasticNet(alpha=0.3, l1_ratio=0.5, **PLAIN),
        lambda: Tie(alpha=0.3, between=None, form="soft"),
        lambda: KLSparsity(alpha=0.3, rho=0.1),
        lambda: ActivationL1(alpha=0.3),
        lambda: L0(alpha=0.3, start=0.9),
    ],
)
def test_gradcheck(part):
    """Every penalty's gradient agrees with finite differences (the gates of L0 see the same draws each time)."""
    model = mlp((4, 4, 4, 3), nn.Sigmoid)
    technique = begun(part(), model=model)
    x = torch.randn(5, 4, dtype=torch.float64)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def value(*tensors):
        with torch.no_grad():
            for p, tensor in zip(parameters, tensors, strict=True):
                p.copy_(tensor)
        technique.context.begin_epoch(0)
        return technique.penalty(model, x, None, model(x)).item()

    start = [p.detach().clone() for p in parameters]
    technique.context.begin_epoch(0)
    gradients = torch.autograd.grad(technique.penalty(model, x, None, model(x)), parameters, allow_unused=True)
    for i, g in enumerate(gradients):
        flat = torch.zeros(start[i].numel(), dtype=torch.float64)
        for j in range(min(4, len(flat))):
            up, down = ([t.clone() for t in start] for _ in range(2))
            up[i].view(-1)[j] += 1e-6
            down[i].view(-1)[j] -= 1e-6
            slope = (value(*up) - value(*down)) / 2e-6
            assert abs(slope - (0.0 if g is None else float(g.view(-1)[j]))) < 1e-6, names[i]


def test_l0_counts_the_open_gates():
    """P(z > 0) = sigmoid(log_a - beta log(0.1 / 1.1)), against the frequency in 400,000 draws."""
    layer = nn.Linear(200, 200, dtype=torch.float64)
    part = begun(L0(alpha=1.0, start=0.4), model=layer)
    with torch.no_grad():
        layer.parametrizations.weight.original.fill_(1.0)
    layer.train()
    expected = part.penalty(layer, None, None, None).item() / 40000
    draws = torch.stack([(layer.weight != 0).double().mean() for _ in range(10)]).mean()
    assert abs(float(draws) - expected) < 5 * math.sqrt(expected * (1 - expected) / 400000)
    layer.eval()
    z = min(1.0, max(0.0, 0.4 * 1.2 - 0.1))
    assert (layer.weight - z).abs().max() < 1e-12
    assert torch.equal(layer.weight, layer.weight)


def test_l0_finds_the_best_subset():
    """On an orthogonal design the gates keep the inputs that an exhaustive search keeps."""
    n, alpha = 400, 0.02
    generator = torch.Generator().manual_seed(0)
    x = torch.linalg.qr(torch.randn(n, 6, dtype=torch.float64, generator=generator)).Q * n**0.5
    w = torch.tensor([1.0, 0.0, -0.8, 0.0, 0.6, 0.03], dtype=torch.float64)
    y = x @ w + 0.1 * torch.randn(n, dtype=torch.float64, generator=generator)

    def cost(subset):
        if not subset:
            return float(y.square().mean() / 2)
        fit = torch.linalg.lstsq(x[:, subset], y[:, None]).solution
        return float((y - (x[:, subset] @ fit)[:, 0]).square().mean() / 2) + alpha * len(subset)

    subsets = (s for k in range(7) for s in itertools.combinations(range(6), k))
    best = min((list(s) for s in subsets), key=cost)
    layer = linear(6, 1, bias=False)
    part = begun(L0(alpha=alpha, start=0.5), model=layer)
    chain = Chain({"l0": part})
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    parts = Parts(layer, optimizer, chain, part.context, criterion=half_squared)
    layer.train()
    for _ in range(1500):
        train_step(parts, x, y[:, None])
    layer.eval()
    assert layer.weight[0].nonzero().flatten().tolist() == best == [0, 2, 4]
    assert part.remark() == "part left 3 of 6 weights"


def test_a_penalty_of_any_power_is_half_its_strength_times_the_sum():
    with float64():
        model = linear(zero=False)
        part = begun(Lq(alpha=0.3, q=4.0, eps=1e-4, **PLAIN), model=model)
        found = part.penalty(model, None, None, None).detach()
        assert float(found) == pytest.approx(0.15 * float(model.weight.detach().pow(4).sum()), rel=1e-12)


def test_a_bound_that_the_longest_vector_just_meets_never_acted():
    model, part = linear(), MaxNorm(c=1.0)
    with torch.no_grad():
        model.weight.copy_(torch.nn.functional.one_hot(torch.arange(len(model.weight)), model.weight.shape[1]))
    begun(part, model=model).project(model)
    assert "never acted" in part.remark()


def test_nothing_to_act_on_is_said():
    model = linear()
    assert "strength 0" in begun(L2(alpha=0.0, **PLAIN), model=model).remark()
    assert "never acted" in begun(MaxNorm(c=10.0), model=model).remark()
    assert "never acted" in begun(NormBall(c=10.0), model=model).remark()
    assert "multiplier 0" in begun(Lagrangian(c=10.0, rate=0.1), model=model).remark()
    with float64():
        assert begun(L2(alpha=1.0, **PLAIN), model=model).remark() is None
