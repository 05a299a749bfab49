"""Optimizers by name, small problems with known answers, and how to descend on them."""

import functools

import torch
from conftest import CLOSED_FORM

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options

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


OURS = {
    "adam": {"bias_correction": False},
    "amsgrad": {"bias_correction": False},
    **{name: {"form": "lecture"} for name in ("momentum", "nesterov", "adagrad", "rmsprop")},
    "lion": {},
    **{name: {} for name in NEEDS_CLOSURE if name not in ("lbfgs", "sam")},
}
FIRST_ORDER = [n for n in EVERY if n not in DERIVATIVE_FREE and n not in FULL_BATCH]


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
