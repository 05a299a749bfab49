"""The manifold tangent classifier: its autoencoder's penalty and singular vectors by autograd, and what it learns from."""

import pytest
import torch
from conftest import Silent
from torch import nn
from toy import begun

from dlreg.errors import UserError
from dlreg.reg.manifold_tangent import Encoder, ManifoldTangent
from dlreg.run.experiment import Experiment
from dlreg.run.parts import load, make_data, make_parts


def encoder(hidden=7, features=9, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(hidden, features + 1, generator=generator, dtype=torch.float64).split([features, 1], 1)
    return Encoder(scale * weight, bias[:, 0])


def samples(n, features=9):
    return torch.rand(n, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def jacobians(function, x):
    return torch.stack([torch.autograd.functional.jacobian(lambda z: function(z[None])[0], z) for z in x])


def technique(**changes):
    given = {"alpha": 0.5, "tangents": 3, "hidden": 7, "contraction": 0.1, "epochs": 3, "lr": 1e-2}
    return begun(ManifoldTangent(**given | changes))


def test_the_penalty_in_closed_form_is_the_norm_of_the_jacobian():
    net, x = encoder(), samples(5)
    expected = jacobians(net, x).square().sum((1, 2))
    assert torch.allclose(net.contraction(net(x)), expected, rtol=1e-12)


def test_tangents_are_the_leading_right_singular_vectors():
    net, x = encoder(), samples(5)
    found = net.tangents(x, 4)
    expected = torch.linalg.svd(jacobians(net, x)).Vh[:, :4].transpose(0, 1)
    assert torch.allclose((found * expected).sum(2).abs(), torch.ones(4, 5, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(torch.einsum("ind,jnd->nij", found, found), torch.eye(4, dtype=torch.float64), atol=1e-9)


def test_a_direction_that_the_jacobian_does_not_have_is_zero():
    net, x = encoder(), samples(5)
    net = net._replace(weight=net.weight * torch.tensor([1.0] * 2 + [0.0] * 5).unsqueeze(1))
    lengths = net.tangents(x, 4).norm(dim=2)
    assert torch.allclose(lengths[:2], torch.ones_like(lengths[:2])) and not lengths[2:].any()


def test_the_cost_is_that_of_the_networks_jacobian_along_them():
    torch.manual_seed(0)
    model, x, part = nn.Sequential(nn.Linear(9, 6), nn.Tanh(), nn.Linear(6, 4)).double(), samples(5), technique()
    net = encoder()
    part.state = {"weight": net.weight, "bias": net.bias}
    vectors = torch.linalg.svd(jacobians(net, x)).Vh[:, :3]
    expected = 0.5 * (jacobians(model, x) @ vectors.mT).square().sum() / 5
    assert torch.isclose(part.penalty(model, x, None, None), expected, rtol=1e-9)


def test_it_finds_the_plane_that_the_samples_lie_on():
    plane = torch.linalg.qr(torch.randn(9, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    x = 0.5 + samples(300, 2).sub(0.5) @ plane.T
    part = technique(epochs=150, contraction=1e-3)
    part.learn(x)
    assert part.state["lost"] < 0.05
    found = Encoder(part.state["weight"], part.state["bias"]).tangents(x[:20], 2)
    assert ((found @ plane).square().sum(2) > 0.97).all()
    assert f"reconstructs {1 - part.state['lost']:.1%} of" in part.remark()


def test_contraction_shrinks_the_jacobian():
    sizes = []
    for strength in (0.0, 10.0):
        part = technique(epochs=20, contraction=strength)
        part.learn(samples(200))
        net = Encoder(part.state["weight"], part.state["bias"])
        sizes.append(net.contraction(net(samples(200))).mean())
    assert sizes[1] < 0.5 * sizes[0]


@pytest.mark.parametrize("labelled", ["null", "100"])
def test_it_learns_once_from_all_samples(labelled, settings, monkeypatch):
    """Those without a label too; a fit that is continued has learnt already."""
    chosen = settings("reg=manifold_tangent", f"data.labelled={labelled}")
    data = make_data(chosen, load(chosen.data))
    learnt = []
    monkeypatch.setattr(ManifoldTangent, "learn", lambda self, x: (learnt.append(len(x)), self.state.update(weight=0)))
    part = make_parts(chosen, data, 0).reg.parts["manifold_tangent"]
    for _ in range(2):
        part.batch(None, None, None)
    assert learnt == [128]


@pytest.mark.parametrize("data", ["digits", "sine"])
def test_more_tangents_than_there_are_directions_are_refused(data, settings):
    words = ["data=sine", "loss=mse", "data.train_size=null"] if data == "sine" else []
    with pytest.raises(UserError, match=r"tangents=8 are more than .* at most") as refused:
        Experiment.of(settings("reg=manifold_tangent", "reg.manifold_tangent.hidden=7", *words)).run(Silent())
    assert len(str(refused.value).splitlines()) == 1
