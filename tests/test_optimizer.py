"""Every optimizer against its formula and torch, and what each promises: exact steps, monotone losses, rates, resumption."""

import copy
import functools
import io
import math

import pytest
import torch
from conftest import CLOSED_FORM, Silent

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.errors import UserError
from dlreg.optimizer.base import Rule
from dlreg.run import loop as train
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.machine import resolve

DRAWS = 40
STEPS = 12
EVERY = [name for name in options("optimizer") if name not in CLOSED_FORM]
DERIVATIVE_FREE = ("annealing", "evolution", "random_search")
NEEDS_CLOSURE = ("adahessian", "coordinate_descent", "lbfgs", "newton", "sam", "svrg", *DERIVATIVE_FREE)
FULL_BATCH = ("coordinate_descent", "lbfgs", "newton")


@functools.cache
def node(name):
    return compose([f"optimizer={name}"]).optimizer


def make(name, params, **hyper):
    """The option with its YAML's values, but for `hyper`."""
    assert set(hyper) <= set(node(name))
    return build("optimizer", {**node(name), **hyper})(list(params))


def weights(seed=0, shapes=((3, 2), (4,)), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def closure_of(optimizer, loss):
    """What the training step passes: gradients as far as the optimizer asks for them."""
    order = getattr(optimizer, "order", 1)

    def closure():
        optimizer.zero_grad()
        value = loss()
        if order:
            own = [p for group in optimizer.param_groups for p in group["params"]]
            for p, g in zip(
                own, torch.autograd.grad(value, own, create_graph=order > 1, allow_unused=True), strict=True
            ):
                p.grad = g
        return value

    return closure


def descend(optimizer, loss, steps):
    """The losses before each step and after the last."""
    closure = closure_of(optimizer, loss)
    losses = [float(optimizer.step(closure).detach()) for _ in range(steps)]
    return [*losses, float(loss().detach())]


def quadratic(eigenvalues=(1.0, 10.0), turned=True, seed=0):
    """(A, w*, parameter, loss): f = (w - w*)' A (w - w*) / 2, minimum 0."""
    generator = torch.Generator().manual_seed(seed)
    n = len(eigenvalues)
    q = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0] if turned else torch.eye(n)
    q = q.double()
    a = q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ q.T
    best = torch.randn(n, generator=generator, dtype=torch.float64)
    w = torch.nn.Parameter(torch.randn(n, generator=generator, dtype=torch.float64))
    return a, best, w, lambda: (w - best) @ a @ (w - best) / 2


def rosenbrock(start=(-1.0, 1.5), dtype=torch.float64):
    w = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
    return w, lambda: (1 - w[0]) ** 2 + 10 * (w[1] - w[0] ** 2) ** 2


# --- each rule against its formula and against torch -------------------------------------------------------------------


def run_formula(name, h, start, gradients, lrs):
    """A weight's path by the formula in the docstring, one weight at a time, with nothing of the optimizer's code."""
    w, product = start.clone(), 1.0
    m, v, s, top = (torch.zeros_like(start) for _ in range(4))
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), start=1):
        b1, b2 = h.get("betas", (0.0, 0.0))
        if name == "sgd":
            w = w - lr * g
        elif name in ("momentum", "nesterov"):
            mu, inside = h["momentum"], h["form"] == "lecture"
            m = mu * m + (lr * g if inside else g)
            if inside:
                w = w - (lr * g + mu * m if name == "nesterov" else m)
            else:
                w = w - lr * (g + mu * m if name == "nesterov" else m)
        elif name in ("adagrad", "rmsprop"):
            v = v + g**2 if name == "adagrad" else h["alpha"] * v + (1 - h["alpha"]) * g**2
            root = (v + h["eps"]).sqrt() if h["form"] == "lecture" else v.sqrt() + h["eps"]
            m = h.get("momentum", 0.0) * m + g / root
            w = w - lr * m
        elif name == "adadelta":
            v = h["rho"] * v + (1 - h["rho"]) * g**2
            d = g * (s + h["eps"]).sqrt() / (v + h["eps"]).sqrt()
            s = h["rho"] * s + (1 - h["rho"]) * d**2
            w = w - lr * d
        elif name in ("adam", "amsgrad", "adamw"):
            w = w * (1 - lr * h["weight_decay"]) if name == "adamw" and w.dim() > 1 else w
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            top = torch.maximum(top, v)
            c1, c2 = (1 - b1**t, 1 - b2**t) if h.get("bias_correction", True) else (1.0, 1.0)
            w = w - lr * (m / c1) / (((top if name == "amsgrad" else v) / c2).sqrt() + h["eps"])
        elif name == "adamax":
            m = b1 * m + (1 - b1) * g
            v = torch.maximum(b2 * v, g.abs() + h["eps"])
            w = w - lr / (1 - b1**t) * m / v
        elif name == "nadam":
            mu, ahead = (b1 * (1 - 0.5 * 0.96 ** (k * h["momentum_decay"])) for k in (t, t + 1))
            product *= mu
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            look = ahead * m / (1 - product * ahead) + (1 - mu) * g / (1 - product)
            w = w - lr * look / ((v / (1 - b2**t)).sqrt() + h["eps"])
        elif name == "lion":
            direction = torch.sign(b1 * m + (1 - b1) * g)
            w = w - lr * (direction + (h["weight_decay"] if w.dim() > 1 else 0.0) * w)
            m = b2 * m + (1 - b2) * g
    return w


TORCH = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {}),
    "nesterov": (torch.optim.SGD, {"nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adamax": (torch.optim.Adamax, {}),
    "nadam": (torch.optim.NAdam, {}),
}
VARIANTS = [
    *((name, {}) for name in TORCH),
    ("adamw", {}),
    ("lion", {}),
    *((name, {"form": "lecture"}) for name in ("momentum", "nesterov", "adagrad", "rmsprop")),
    *((name, {"bias_correction": False}) for name in ("adam", "amsgrad")),
]


def drawn(name, fixed, i):
    """Hyper-parameters of draw i: rates over four decades, averages from nearly none to nearly all."""
    generator = torch.Generator().manual_seed(i)

    def uniform(low, high):
        return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))

    ranges = {
        "lr": lambda: 10 ** uniform(-4, 0),
        "momentum": lambda: uniform(0.05, 0.99),
        "alpha": lambda: uniform(0.1, 0.999),
        "rho": lambda: uniform(0.1, 0.999),
        "betas": lambda: [uniform(0.0, 0.99), uniform(0.1, 0.9999)],
        "eps": lambda: 10 ** uniform(-10, -2),
        "momentum_decay": lambda: uniform(0.0, 0.1),
        "weight_decay": lambda: uniform(0.0, 0.5),
    }
    return {**{key: draw() for key, draw in ranges.items() if key in node(name)}, **fixed}


@pytest.mark.parametrize(
    ("name", "fixed"), VARIANTS, ids=[f"{n}-{'-'.join(map(str, f.values()))}" for n, f in VARIANTS]
)
def test_formula_and_torch(name, fixed):
    """40 drawn settings, gradients of noise, a rate that changes at every step."""
    worst = 0.0
    for i in range(DRAWS):
        h = drawn(name, fixed, i)
        params, twin = weights(i), weights(i)
        noise = [weights(1000 + i * STEPS + t) for t in range(STEPS)]
        lrs = [h["lr"] * (1 + t) / STEPS for t in range(STEPS)]
        expected = [
            run_formula(name, {**node(name), **h}, p.detach(), [step[k].detach() for step in noise], lrs)
            for k, p in enumerate(params)
        ]
        optimizer = make(name, params, **h)
        rivals = [optimizer]
        if name in TORCH and not fixed:
            kind, extra = TORCH[name]
            rivals.append(kind(twin, **{k: tuple(v) if k == "betas" else v for k, v in h.items()}, **extra))
        for t, lr in enumerate(lrs):
            for rival, own in zip(rivals, (params, twin), strict=False):
                for group in rival.param_groups:
                    group["lr"] = lr
                for p, g in zip(own, noise[t], strict=True):
                    p.grad = g.detach().clone()
                rival.step()
        for own in (params, twin)[: len(rivals)]:
            for p, e in zip(own, expected, strict=True):
                worst = max(worst, float(((p.detach() - e).abs() / e.abs().clamp(min=1)).max()))
    # torch's NAdam keeps its product of momenta in single precision, whatever the weights are in.
    assert worst <= (1e-7 if name == "nadam" else 1e-12)


def test_muon_is_torch_muon_on_matrices_and_adamw_elsewhere():
    shapes = ((5, 3), (4,), (2, 3, 3, 3))
    params, alone = weights(0, shapes), weights(0, shapes)
    optimizer = make("muon", params, weight_decay=0.1, lr=0.01)
    muon = torch.optim.Muon(alone[:1], 0.01, 0.1, 0.95, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": alone[2:], "weight_decay": 0.1}, {"params": alone[1:2], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.01, fused=True)
    for t in range(5):
        for p, q, g in zip(params, alone, weights(10 + t, shapes), strict=True):
            p.grad, q.grad = g.detach().clone(), g.detach().clone()
        for o in (optimizer, muon, adamw):
            o.step()
    assert all(torch.equal(p, q) for p, q in zip(params, alone, strict=True))


def test_muon_steps_are_nearly_orthogonal():
    """Jordan: the singular values of O lie in about [0.7, 1.2]; the step is 0.2 lr sqrt(max(n, m)) O."""
    (w,) = weights(0, ((6, 4),))
    before = w.detach().clone()
    optimizer = make("muon", [w], lr=0.1, weight_decay=0.0)
    w.grad = weights(1, ((6, 4),))[0].detach()
    optimizer.step()
    values = torch.linalg.svdvals((before - w.detach()) / (0.1 * 0.2 * math.sqrt(6)))
    assert values.min() > 0.6 and values.max() < 1.3


# --- what every optimizer does ------------------------------------------------------------------------------------------


RATES = {
    "adadelta": 10.0,
    "adagrad": 0.5,
    "adahessian": 0.5,
    "coordinate_descent": 1.0,
    "lbfgs": 1.0,
    "lion": 0.005,
    "momentum": 0.002,
    "nesterov": 0.002,
    "newton": 1.0,
    "random_search": 0.1,
    "rmsprop": 0.005,
    "svrg": 0.01,
    "sgd": 0.01,
}


def gentle(name):
    """Settings under which every option goes about a two-dimensional problem at a fair pace."""
    if name == "sam":
        return {"base": {**node("sam")["base"], "lr": 0.002}, "rho": 0.001}
    more = {"coordinate_descent": {"coordinates": None}, "svrg": {"m": 4}, "lbfgs": {"max_iter": 2}}
    return {"lr": RATES.get(name, 0.02), **more.get(name, {})}


@pytest.mark.parametrize("name", EVERY)
def test_rosenbrock(name):
    """(1 - x)^2 + 10 (y - x^2)^2 from (-1, 1.5), where it is 6.5: how soon it is small."""
    torch.manual_seed(0)
    w, loss = rosenbrock()
    optimizer, small = (
        make(name, [w], **gentle(name)),
        {"adadelta": 0.5, "annealing": 0.05, "evolution": 0.05}.get(name, 1e-3),
    )
    assert loss() == 6.5
    steps = {"evolution": 800, "coordinate_descent": 300}.get(name, 2000)
    assert any(descend(optimizer, loss, 50)[-1] < small for _ in range(steps // 50))


@pytest.mark.parametrize("name", EVERY)
def test_state_dict_round_trip_continues_bit_identically(name):
    """Six steps, or three, through a file, and three, in the precision that runs have."""
    (w, loss), (cut, cut_loss) = rosenbrock(dtype=torch.float32), rosenbrock(dtype=torch.float32)
    torch.manual_seed(5)
    descend(make(name, [w], **gentle(name)), loss, 6)
    torch.manual_seed(5)
    first = make(name, [cut], **gentle(name))
    descend(first, cut_loss, 3)
    file = io.BytesIO()
    torch.save({"weights": cut.detach(), "optimizer": first.state_dict()}, file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    torch.manual_seed(77)  # another process
    again, again_loss = rosenbrock(dtype=torch.float32)
    second = make(name, [again], **gentle(name))
    second.load_state_dict(saved["optimizer"])
    with torch.no_grad():
        again.copy_(saved["weights"])
    descend(second, again_loss, 3)
    assert torch.equal(again, w)
    assert not torch.equal(again, cut)


@pytest.mark.parametrize("name", [n for n in EVERY if n != "lbfgs"])  # torch's L-BFGS cannot be copied
def test_deepcopy_carries_the_state(name):
    w, loss = rosenbrock(dtype=torch.float32)
    torch.manual_seed(5)
    optimizer = make(name, [w], **gentle(name))
    descend(optimizer, loss, 3)
    copied = copy.deepcopy(optimizer)
    twin = copied.param_groups[0]["params"][0]
    assert twin is not w and torch.equal(twin, w)
    descend(optimizer, loss, 3)
    descend(copied, lambda: (1 - twin[0]) ** 2 + 10 * (twin[1] - twin[0] ** 2) ** 2, 3)
    assert torch.equal(twin, w)


@pytest.mark.parametrize("name", EVERY)
def test_the_global_stream_is_left_alone_and_the_seed_matters_where_numbers_are_drawn(name):
    ends = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        params = weights(0, ((3, 2),))
        a = torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        a = a @ a.T + torch.eye(6)
        before = torch.get_rng_state()
        optimizer = make(name, params)
        descend(optimizer, lambda p=params[0], a=a: p.view(-1) @ a @ p.view(-1) / 2, 3)
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(params[0].detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2]) == (name not in ("adahessian", *DERIVATIVE_FREE))


OURS = {
    "adam": {"bias_correction": False},
    "amsgrad": {"bias_correction": False},
    **{name: {"form": "lecture"} for name in ("momentum", "nesterov", "adagrad", "rmsprop")},
    "lion": {},
    **{name: {} for name in NEEDS_CLOSURE if name not in ("lbfgs", "sam")},
}


@pytest.mark.parametrize("name", OURS)
def test_a_group_has_a_rate_of_its_own(name):
    """With lr = 0 in the second group its weights stay, and the first group's move."""
    first, second = weights(0, ((2,), (2,)))
    optimizer = make(name, [first], **OURS[name])
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [second], "lr": 0.0})
    if name == "coordinate_descent":
        optimizer.param_groups[0]["line_search"] = "backtracking"  # the exact search has no use for lr
    start = [first.detach().clone(), second.detach().clone()]
    descend(optimizer, lambda: (first**2).sum() + (second**2).sum() / 2 + first[0] * second[0] / 3, 3)
    assert not torch.equal(first, start[0])
    assert torch.equal(second, start[1])


@pytest.mark.parametrize("name", [n for n in ("sam", *OURS) if n not in DERIVATIVE_FREE])
def test_sparse_gradients_are_refused(name):
    w = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = make(name, [w], **OURS.get(name, {}))

    def closure():
        w.grad = torch.eye(3, 2).to_sparse()
        return torch.tensor(1.0)

    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step(closure)
    assert torch.equal(w, torch.ones(3, 2))


@pytest.mark.parametrize("name", [n for n in EVERY if n not in DERIVATIVE_FREE])
def test_a_weight_that_the_loss_does_not_reach_stays(name):
    used, idle = weights(0, ((2, 2), (2, 2)))
    start = idle.detach().clone()
    options = {"weight_decay": 0.0} if "weight_decay" in node(name) else {}
    descend(make(name, [used, idle], **options), lambda: (used**2).sum(), 2)
    assert torch.equal(idle, start)
    assert used.isfinite().all()


# --- what each one promises ---------------------------------------------------------------------------------------------


def test_gradient_descent_follows_its_exact_path():
    """w_t - w* = (I - lr A)^t (w_0 - w*)."""
    a, best, w, loss = quadratic((0.5, 2.0, 7.0))
    start = w.detach().clone()
    descend(make("sgd", [w], lr=0.1), loss, 50)
    expected = best + torch.linalg.matrix_power(torch.eye(3) - 0.1 * a, 50) @ (start - best)
    assert (w - expected).abs().max() < 1e-13


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_descent_lemma_and_one_over_t(share):
    """For lr <= 1/L: f(w+) <= f(w) - lr/2 |g|^2 at every step, and f(w_T) - f* <= |w_0 - w*|^2 / (2 lr T)."""
    a, best, w, loss = quadratic((0.01, 1.0, 4.0))
    lr = share / 4.0
    distance = float(((w - best) ** 2).sum().detach())
    optimizer = make("sgd", [w], lr=lr)
    for t in range(1, 101):
        before, slope = float(loss().detach()), a @ (w.detach() - best)
        descend(optimizer, loss, 1)
        after = float(loss().detach())
        assert after <= before - lr / 2 * float(slope @ slope) + 1e-14
        assert after <= distance / (2 * lr * t)


@pytest.mark.parametrize(("share", "converges"), [(1.98, True), (2.02, False)])
def test_gradient_descent_needs_lr_below_two_over_smoothness(share, converges):
    _, _, w, loss = quadratic((1.0, 4.0))
    losses = descend(make("sgd", [w], lr=share / 4.0), loss, 2000)
    assert losses[-1] < 1e-12 if converges else losses[-1] > 1e12


def test_nesterov_is_faster_than_gradient_descent_on_a_ravine():
    """Steps until f < 1e-8 f_0 at condition number 200: about kappa log against sqrt(kappa) log."""
    steps = {}
    for name, h in (("sgd", {}), ("momentum", {"momentum": 0.8}), ("nesterov", {"momentum": 0.87})):
        _, _, w, loss = quadratic((1.0, 200.0))
        losses = descend(make(name, [w], lr=5e-3, **h), loss, 1900)
        steps[name] = next(t for t, f in enumerate(losses) if f < 1e-8 * losses[0])
    assert steps["nesterov"] * 10 < steps["sgd"]
    assert steps["nesterov"] < steps["momentum"] < steps["sgd"]


def test_newton_solves_a_quadratic_in_one_step():
    _, best, w, loss = quadratic((0.1, 3.0, 50.0, 1000.0))
    descend(make("newton", [w], damping=0.0), loss, 1)
    assert (w - best).abs().max() < 1e-12


def test_newton_damping_is_ridge_on_the_step():
    a, best, w, loss = quadratic((0.1, 3.0))
    start = w.detach().clone()
    descend(make("newton", [w], damping=0.5, lr=0.7), loss, 1)
    expected = start - 0.7 * torch.linalg.inv(a + 0.5 * torch.eye(2)) @ a @ (start - best)
    assert (w - expected).abs().max() < 1e-12


def test_newton_without_damping_is_drawn_to_the_saddle_and_with_it_escapes():
    ends = {}
    for damping in (0.0, 0.1):
        w = torch.nn.Parameter(torch.tensor([1.0, 0.1], dtype=torch.float64))
        losses = descend(make("newton", [w], damping=damping), lambda w=w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4 / 4, 50)
        ends[damping] = losses[-1]
    assert abs(ends[0.0]) < 1e-12
    assert abs(ends[0.1] + 1) < 1e-6


def test_newton_on_a_network_has_the_hessian_of_torch():
    x, y, shapes = weights(0, ((20, 3),))[0].detach(), torch.arange(20) % 2, ((4, 3), (4,), (2, 4), (2,))

    def loss_of(flat):
        parts = flat.split([math.prod(shape) for shape in shapes])
        w1, b1, w2, b2 = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
        return torch.nn.functional.cross_entropy(torch.tanh(x @ w1.T + b1) @ w2.T + b2, y)

    params = weights(1, shapes)
    start = torch.cat([p.detach().flatten() for p in params])
    hessian = torch.autograd.functional.hessian(loss_of, start)
    gradient = torch.autograd.functional.jacobian(loss_of, start)
    optimizer = make("newton", params, damping=100.0)  # far above every negative eigenvalue
    descend(optimizer, lambda: loss_of(torch.cat([p.flatten() for p in params])), 1)
    expected = start - torch.linalg.solve(hessian + 100.0 * torch.eye(len(start)), gradient)
    assert (torch.cat([p.detach().flatten() for p in params]) - expected).abs().max() < 1e-13
    assert hessian.abs().max() > 0.01


def test_newton_refuses_a_large_model(settings):
    chosen = settings("optimizer=newton", "batch_size=full", "model.hidden=[256]")
    with pytest.raises(UserError, match=r"newton: this model has 19,210 weights.*max_params=3,000"):
        Experiment.of(chosen).run(Silent())


@pytest.mark.parametrize("name", FULL_BATCH)
def test_what_needs_the_whole_set_is_refused_on_batches(name, settings, tmp_path):
    words = [f"optimizer={name}", "model.hidden=[4]"]
    for wrong, text in (
        (["batch_size=64"], "batch_size=64 does not work"),
        (["sampler=random"], "draws with replacement"),
    ):
        chosen = settings(*words, *(wrong if "batch" in wrong[0] else [*wrong, "batch_size=full"]))
        with pytest.raises(UserError, match=text):
            Experiment.of(chosen).run(Silent())
    assert not list(tmp_path.glob("outputs/*"))
    assert Experiment.of(settings(*words, "batch_size=1000", "epochs=1")).run(Silent()).status == "done"


def test_lbfgs_solves_a_quadratic():
    _, best, w, loss = quadratic(tuple(float(k) for k in range(1, 11)))
    losses = descend(make("lbfgs", [w], max_iter=40), loss, 4)
    assert (w - best).abs().max() < 1e-5  # torch stops where the loss changes by less than 1e-9
    assert losses[-1] < 1e-10


@pytest.mark.parametrize("max_iter", [1, 2])
def test_lbfgs_moves_however_few_iterations_it_has(max_iter):
    w, loss = rosenbrock()
    losses = descend(make("lbfgs", [w], max_iter=max_iter), loss, 60)
    assert losses[-1] < 1e-6


def test_coordinate_descent_is_gauss_seidel_on_a_quadratic():
    a, best, w, loss = quadratic((1.0, 2.0, 5.0, 9.0))
    expected = w.detach().clone()
    descend(make("coordinate_descent", [w], coordinates=None), loss, 3)
    for _ in range(3):
        for i in range(4):
            expected[i] -= (a @ (expected - best))[i] / a[i, i]
    assert (w - expected).abs().max() < 1e-12


@pytest.mark.parametrize("search", ["exact", "backtracking"])
def test_coordinate_descent_goes_in_turn_and_never_uphill(search):
    w, loss = rosenbrock()
    optimizer = make("coordinate_descent", [w], coordinates=1, line_search=search)
    last, closure = float(loss().detach()), closure_of(optimizer, loss)
    for t in range(200):
        before = w.detach().clone()
        optimizer.step(closure)
        moved = (w.detach() != before).nonzero().flatten().tolist()
        assert moved in ([], [t % 2])
        now = float(loss().detach())
        assert now <= last
        last = now
    assert last < 4.0  # from 6.5


def test_adahessian_is_newton_where_the_hessian_is_diagonal():
    """One draw of z gives a diagonal Hessian exactly, since z^2 = 1; without averaging the step is Newton's."""
    w = torch.nn.Parameter(torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64))
    scales = torch.tensor([0.5, 4.0, 100.0], dtype=torch.float64)
    torch.manual_seed(0)
    optimizer = make("adahessian", [w], lr=1.0, betas=[0.0, 0.0], eps=1e-300)
    descend(optimizer, lambda: (scales * w**2).sum() / 2, 1)
    assert w.abs().max() < 1e-14


def test_adahessian_averages_like_adam_over_the_diagonal():
    """On a diagonal quadratic its path is Adam's formula with v the mean of squared curvatures."""
    w = torch.nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    h, x = torch.tensor([0.5, 4.0], dtype=torch.float64), torch.tensor([3.0, -2.0], dtype=torch.float64)
    descend(make("adahessian", [w], lr=0.1, betas=[0.9, 0.99], eps=1e-4, power=0.5), lambda: (h * w**2).sum() / 2, 10)
    m, v = torch.zeros(2), torch.zeros(2)
    for t in range(1, 11):
        m, v = 0.9 * m + 0.1 * h * x, 0.99 * v + 0.01 * h**2
        x = x - 0.1 * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() ** 0.5 + 1e-4)
    assert (w - x).abs().max() < 1e-12


def test_hutchinson_estimates_the_diagonal_and_averages_over_kernels():
    """E[z * Hz] = diag H: 4000 draws within 6 standard errors, whose size sum_j H_ij^2 the method has in theory."""
    a, _, w, loss = quadratic((1.0, 5.0, 20.0))
    torch.manual_seed(0)
    optimizer = make("adahessian", [w], samples=4000)
    closure_of(optimizer, loss)()
    (found,) = optimizer._diagonal([w], [w.grad])
    error = ((a**2).sum(1) - a.diagonal() ** 2).sqrt() / math.sqrt(4000)
    assert ((found - a.diagonal()).abs() < 6 * error).all()
    kernel = torch.nn.Parameter(torch.ones(2, 1, 3, 3, dtype=torch.float64))
    scale = torch.arange(18, dtype=torch.float64).view(2, 1, 3, 3)
    optimizer = make("adahessian", [kernel])
    closure_of(optimizer, lambda: (scale * kernel**2).sum() / 2)()
    (found,) = optimizer._diagonal([kernel], [kernel.grad])
    assert torch.equal(found, scale.mean((2, 3), keepdim=True).expand_as(scale))
    signs = torch.where(scale % 2 > 0, -1.0, 1.0)  # the authors average |d|: opposite curvatures do not cancel
    optimizer = make("adahessian", [kernel])
    closure_of(optimizer, lambda: (signs * scale * kernel**2).sum() / 2)()
    (found,) = optimizer._diagonal([kernel], [kernel.grad])
    assert torch.equal(found, scale.mean((2, 3), keepdim=True).expand_as(scale))


FIRST_ORDER = [n for n in EVERY if n not in DERIVATIVE_FREE and n not in FULL_BATCH]


@pytest.mark.parametrize("name", [n for n in FIRST_ORDER if n != "sam"])
def test_a_weight_that_the_loss_reaches_late_is_updated_as_if_it_were_alone(name):
    """The first gradient of one weight may come when another has a history: state and bias are each weight's own."""
    if name in ("svrg", "nadam"):
        pytest.skip("a snapshot is of all weights; torch's product of momenta counts too")
    found = []
    for late in (3, 0):
        first, second = weights(0, ((2, 2), (2, 2)))
        torch.manual_seed(3)
        optimizer = make(name, [first, second] if late else [second], lr=0.01)
        for p in [first] * late + [second] * 4:
            descend(optimizer, lambda p=p: (p**2).sum(), 1)
        found.append(second.detach())
    assert torch.allclose(*found, rtol=1e-12)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_the_layout_of_a_weight_in_memory_changes_nothing(name):
    """A transposed weight, and a part of a larger one: torch's fused kernels would update other places, in silence."""
    start = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    layouts = (start.clone(), start.T.contiguous().T, torch.zeros(4, 6)[:, ::2].copy_(start))
    found = []
    for layout in layouts:
        w = torch.nn.Parameter(layout)
        assert torch.equal(w, start)
        torch.manual_seed(3)
        descend(make(name, [w], **({"rho": 0.1} if name == "sam" else {})), lambda w=w: ((w - 1) ** 2 / 2).sum(), 3)
        found.append(w.detach().contiguous())
    assert all(torch.allclose(w, found[0], rtol=1e-6) for w in found) and not torch.equal(found[0], start)


@pytest.mark.parametrize("base", [n for n in FIRST_ORDER if n not in ("sam", "svrg", "adahessian")])
def test_sam_over_every_base_resumes_bit_identically_with_its_schedule(base):
    """The base may be several optimizers itself: after loading, each part has the groups and the state that were loaded."""

    def sam(w):
        return make("sam", [w], base=node(base))

    w, cut = (torch.nn.Parameter(torch.tensor([[-1.0, 1.5], [2.0, 0.5]])) for _ in range(2))
    whole, first = sam(w), sam(cut)

    def go(optimizer, p, steps):
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = 0.01 / (1 + step)
            descend(optimizer, lambda: ((p - 3) ** 2).sum(), 1)

    go(whole, w, range(6))
    go(first, cut, range(3))
    file = io.BytesIO()
    torch.save({"weights": cut.detach(), "optimizer": first.state_dict()}, file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    again = torch.nn.Parameter(torch.zeros_like(cut))
    second = sam(again)
    second.load_state_dict(saved["optimizer"])
    with torch.no_grad():
        again.copy_(saved["weights"])
    go(second, again, range(3, 6))
    assert torch.equal(again, w) and not torch.equal(again, cut)


def test_lbfgs_at_a_rate_of_zero_stays(settings):
    (w,) = weights(0, ((3,),))
    before, optimizer = w.detach().clone(), make("lbfgs", [w])
    optimizer.param_groups[0]["lr"] = 0.0
    descend(optimizer, lambda: (w**2).sum(), 2)
    assert torch.equal(w, before)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("optimizer=random_search",), "judges each move by one batch alone"),
        (("optimizer=coordinate_descent", "batch_size=full", "optimizer.coordinates=2"), "lr and schedule act only"),
        (("optimizer=adamw", "reg=weight_decay"), "on top of the optimizer's weight_decay=0.01"),
        (("optimizer=lion", "reg=weight_decay"), "on top of the optimizer's weight_decay=0.03"),
        (("optimizer=muon", "reg=weight_decay"), "on top of the optimizer's weight_decay=0.01"),
    ],
)
def test_what_an_optimizer_does_beside_what_was_asked_is_remarked_on(words, text, settings):
    assert any(text in remark for remark in Experiment.of(settings(*words)).run(Silent()).remarks)
    quiet = ("optimizer=random_search", "batch_size=full") if "random" in words[0] else ("optimizer=adam", *words[1:2])
    assert not any(text in remark for remark in Experiment.of(settings(*quiet)).run(Silent()).remarks)


def test_adahessian_leaves_no_cycle_between_weight_and_gradient():
    _, _, w, loss = quadratic()
    descend(make("adahessian", [w]), loss, 1)
    assert w.grad.grad_fn is None and not w.grad.requires_grad


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
        x, y = train.to_unit(data.train.x), torch.eye(data.classes)[data.train.y]
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
        x, y = train.to_unit(data.train.x[:64]), torch.eye(10)[data.train.y[:64]]
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
        x, y = train.to_unit(data.train.x[:64]), torch.eye(10)[data.train.y[:64]]
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
