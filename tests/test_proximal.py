"""The soft threshold beside every optimizer: where it is let in, the lasso's solution is its fixed point."""

import pytest
import torch
from optimizers import EVERY, make
from test_reg import PLAIN
from toy import begun

from dlreg.config.compose import compose
from dlreg.optimizer.kernels import lean
from dlreg.optimizer.stride import strides
from dlreg.reg.penalties import L1
from dlreg.run.content import content

ALPHA = 0.3
NO_STRIDES = {"annealing", "coordinate_descent", "evolution", "lbfgs", "lion", "muon", "newton", "random_search"}
FORMS = [
    *((name, {}) for name in EVERY if name not in NO_STRIDES),
    *((name, {"form": "lecture"}) for name in ("momentum", "nesterov", "adagrad", "rmsprop")),
    *((name, {"bias_correction": False}) for name in ("adam", "amsgrad")),
    *(("rmsprop", {"momentum": 0.8, "form": form}) for form in ("torch", "lecture")),
    ("adahessian", {"power": 0.5}),
]


AT_REST, FREE = 250, 30  # steps: 0.9^250 is 4e-12


@pytest.fixture(scope="module")
def lasso():
    """(X'X/n, X'y/n, w): w minimizes |X w - y|^2 / 2n + ALPHA |w|_1, by coordinate descent, to rounding."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator, dtype=torch.float64) + torch.randn(40, 1, generator=generator).double()
    y = x @ torch.tensor([2.0, -1, 0, 0, 0.5, 0]).double() + torch.randn(40, generator=generator, dtype=torch.float64)
    a, b, w = x.T @ x / 40, x.T @ y / 40, torch.zeros(6, dtype=torch.float64)
    for _ in range(300):
        for i in range(6):
            z = b[i] - a[i] @ w + a[i, i] * w[i]
            w[i] = z.sign() * (z.abs() - ALPHA).clamp_min(0) / a[i, i]
    slope = a @ w - b
    assert 1 < int((w == 0).sum()) < 5
    assert torch.where(w == 0, (slope.abs() - ALPHA).clamp_min(0), slope + ALPHA * w.sign()).abs().max() < 1e-14
    return a, b, w.unsqueeze(0)


@pytest.mark.parametrize(("name", "hyper"), FORMS, ids=lambda given: str(given))
def test_the_lasso_stays_where_it_is(name, hyper, lasso):
    """Once velocities and moments are those of a gradient that stays as it is."""
    a, b, solution = lasso
    model = torch.nn.Linear(6, 1, bias=False, dtype=torch.float64)
    still = {"adamw": {"weight_decay": 0.0}, "sam": {"rho": 0.0}}.get(name, {})
    optimizer = lean(make(name, model.parameters(), **hyper, **still))
    part = begun(L1(alpha=ALPHA, form="proximal", **PLAIN), model=model)
    part.context.strides = strides(optimizer)
    second = getattr(optimizer, "order", 1) > 1

    def closure():
        with torch.set_grad_enabled(second):
            w = model.weight
            w.grad = w @ a - b
            return w.sum()

    for step in range(AT_REST + FREE):
        if step < AT_REST:
            model.weight.data.copy_(solution)
        optimizer.step(closure)
        part.project(model)
    assert (model.weight - solution).abs().max() < 1e-10
    assert torch.equal(model.weight == 0, solution == 0)


def test_optimizers_without_such_a_step_have_none():
    assert {name for name in EVERY if strides(make(name, [torch.nn.Parameter(torch.ones(2, 2))])) is None} == NO_STRIDES


@pytest.mark.parametrize(
    ("words", "marked"),
    [
        (["reg=l1"], False),
        (["reg=l1", "optimizer=adam"], False),
        (["reg=l1", "reg.l1.form=proximal"], False),  # with SGD it is what it was
        (["reg=l1", "reg.l1.form=proximal", "optimizer=adam"], True),
        (["reg=l1_late", "reg.l1_late.form=proximal", "optimizer=momentum"], True),
    ],
)
def test_only_runs_whose_threshold_changed_are_others(words, marked):
    found = content(compose(["optimizer=sgd", *words] if "optimizer" not in str(words) else words))
    assert any(key.startswith("reg.l1") for key in found) == marked
