"""What optimizers promise of whole batches: exact steps, monotone losses, rates; the second-order ones, and layouts."""

import io
import math

import pytest
import torch
from conftest import Silent
from optimizers import FIRST_ORDER, FULL_BATCH, closure_of, descend, make, node, quadratic, rosenbrock, weights

from dlreg.errors import UserError
from dlreg.run.experiment import Experiment


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
    a, best, w, loss = quadratic((0.1, 3.0, 50.0, 1000.0))
    descend(make("newton", [w], damping=0.0), loss, 1)
    # A solver's last bits are no larger than those of |A| |w|: they are seen in A (w - w*), and 10^4 times as large in w - w*.
    assert (a @ (w - best)).abs().max() < 1e-12


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
