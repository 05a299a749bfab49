"""Every update rule against its formula and against torch."""

import math

import pytest
import torch
from optimizers import make, node, weights

from dlreg.optimizer.muon import orthogonal

DRAWS = 40
STEPS = 12


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
    """To what bfloat16, in which torch computes everywhere, makes of five steps."""
    shapes = ((5, 3), (3, 7), (4,), (2, 3, 3, 3))
    params, alone = weights(0, shapes), weights(0, shapes)
    before = [p.detach().clone() for p in params]
    optimizer = make("muon", params, weight_decay=0.1, lr=0.01)
    muon = torch.optim.Muon(alone[:2], 0.01, 0.1, 0.95, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": alone[3:], "weight_decay": 0.1}, {"params": alone[2:3], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=0.01, fused=True)
    for t in range(5):
        for p, q, g in zip(params, alone, weights(10 + t, shapes), strict=True):
            p.grad, q.grad = g.detach().clone(), g.detach().clone()
        for o in (optimizer, muon, adamw):
            o.step()
    for ours, theirs, start in zip(params[:2], alone[:2], before[:2], strict=True):
        assert (ours - theirs).norm() < 0.03 * (theirs - start).norm()
    assert all(torch.equal(p, q) for p, q in zip(params[2:], alone[2:], strict=True))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_muon_treats_every_singular_direction_as_the_quintic_does(shape):
    """U p(p(p(p(p(S / |S|))))) V^T, by the singular value decomposition."""
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    assert torch.allclose(orthogonal(matrix), u * s @ v, rtol=0, atol=1e-12)


def test_muon_steps_are_nearly_orthogonal():
    """Jordan: the singular values of O lie in about [0.7, 1.2]; the step is 0.2 lr sqrt(max(n, m)) O."""
    (w,) = weights(0, ((6, 4),))
    before = w.detach().clone()
    optimizer = make("muon", [w], lr=0.1, weight_decay=0.0)
    w.grad = weights(1, ((6, 4),))[0].detach()
    optimizer.step()
    values = torch.linalg.svdvals((before - w.detach()) / (0.1 * 0.2 * math.sqrt(6)))
    assert values.min() > 0.6 and values.max() < 1.3
