"""Tangents of images against images that were moved, and the penalty against finite differences of the network."""

import pytest
import torch
from conftest import Silent
from torch import nn
from toy import begun

from dlreg.errors import UserError
from dlreg.model.tangents import TANGENTS, blurred, tangents
from dlreg.reg.tangent_prop import TangentProp
from dlreg.run.experiment import Experiment

N = 201  # fine, so that central differences are near derivatives
FIELDS = {  # where a point comes from, per unit of each tangent
    "right": lambda u, v: (1.0 + 0 * u, 0 * v),
    "down": lambda u, v: (0 * u, 1.0 + 0 * v),
    "rotation": lambda u, v: (v, -u),
    "scaling": lambda u, v: (u, v),
    "stretch": lambda u, v: (u, -v),
    "diagonal": lambda u, v: (v, u),
}


def image(u, v):
    """A smooth image on [-1, 1]^2 that is 0 at the border."""
    return torch.exp(-8 * (u - 0.1).square() - 12 * (v + 0.2).square() - 5 * u * v)


@pytest.fixture(scope="module")
def grid():
    side = torch.linspace(-1, 1, N, dtype=torch.float64)
    return side.unsqueeze(0).expand(N, N), side.unsqueeze(1).expand(N, N)


@pytest.mark.parametrize("name", FIELDS)
def test_a_tangent_is_the_derivative_of_the_moved_image(name, grid):
    """Pixel by pixel: a unit moves by one pixel, 2 / (N - 1) in u and v, at the border."""
    u, v = grid
    a, b = FIELDS[name](u, v)
    step = 1e-4 * 2 / (N - 1)
    moved = (image(u + step * a, v + step * b) - image(u - step * a, v - step * b)) / 2e-4
    found = tangents(image(u, v)[None, None], 0.0)[TANGENTS.index(name), 0, 0]
    assert (found - moved)[1:-1, 1:-1].abs().max() < 2e-3 * moved.abs().max()


def test_thickness_is_the_squared_slope_and_blurring_is_torchs_gaussian():
    from torchvision.transforms.v2.functional import gaussian_blur

    x = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    found = tangents(x, 0.0)
    assert torch.equal(found[6], found[0].square() + found[1].square())
    inner = blurred(x, 0.7)[..., 3:-3, 3:-3]
    assert torch.allclose(inner, gaussian_blur(x, 7, 0.7)[..., 3:-3, 3:-3], atol=1e-6)
    assert torch.equal(tangents(x, 0.7), tangents(blurred(x, 0.7), 0.0))


def network(norm=True):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.Tanh(), nn.MaxPool2d(2),
              nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 5)]  # fmt: skip
    return nn.Sequential(*layers).double().train()


@pytest.mark.parametrize("directions", [None, ["rotation"], ["down", "thickness"]])
def test_the_penalty_is_the_finite_difference_of_the_network(directions):
    model, x = network(), torch.rand(6, 1, 8, 8, dtype=torch.float64)
    part = begun(TangentProp(alpha=0.3, directions=directions, sigma=0.8))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = part.penalty(model, x, None, None)
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.eval()
    total = 0.0
    for k in range(7):
        if directions is None or TANGENTS[k] in directions:
            t = 1e-5 * tangents(x, 0.8)[k]
            total += ((model(x + t) - model(x - t)) / 2e-5).square().sum()
    assert torch.isclose(found, 0.3 * total / 6, rtol=1e-6)


def test_its_gradient_is_the_gradient_of_the_jacobian():
    model, x = network(False), torch.rand(3, 1, 8, 8, dtype=torch.float64)
    part = begun(TangentProp(alpha=1.0, directions=None, sigma=1.0))
    weights = list(model.parameters())
    found = torch.autograd.grad(part.penalty(model, x, None, None), weights, allow_unused=True)
    model.eval()
    along, total = tangents(x, 1.0), 0.0
    for i in range(3):
        J = torch.autograd.functional.jacobian(lambda z: model(z[None])[0], x[i], create_graph=True)
        total = total + torch.einsum("kchw,tchw->tk", J, along[:, i]).square().sum() / 3
    expected = torch.autograd.grad(total, weights, allow_unused=True)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b, atol=1e-10)


@pytest.mark.parametrize("model", ["lenet", "maxout", "small_inception", "local"])
@pytest.mark.parametrize("norm", ["batch", "weight"])
def test_in_every_network(model, norm, run):
    small = ["model.hidden=[8]"] if model == "maxout" else []
    result = run("reg=tangent_prop", f"model={model}", f"norm={norm}", *small, "epochs=1", "data.train_size=16")
    assert result.status == "done", result.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=sine", "loss=mse", "data.train_size=null"], "reg=tangent_prop moves and turns images; a sample"),
        (["reg.tangent_prop.directions=[up]"], r"directions.*=up.* must be 'right'"),
    ],
)
def test_what_cannot_work_is_refused(words, message, settings):
    with pytest.raises(UserError, match=message):
        Experiment.of(settings("reg=tangent_prop", *words)).run(Silent())
