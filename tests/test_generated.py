"""Generated data: points where their formulas put them, moments, independent draws, the same test set."""

import math

import numpy as np
import pytest
import torch

from dlreg.config.compose import compose
from dlreg.data.gaussian import gaussian
from dlreg.data.mnist1d import mnist1d
from dlreg.errors import UserError
from dlreg.run.parts import load


def made(*words):
    return load(compose(words).data)


def test_noiseless_moons_lie_on_scikit_learns_arcs():
    from sklearn.datasets import make_moons

    found = made("data=two_moons", "data.noise=0", "data.n=500").train
    arcs, classes = make_moons(4000, shuffle=False)
    for label in (0, 1):
        mine, theirs = found.x[found.y == label].numpy(), arcs[classes == label]
        assert np.linalg.norm(mine[:, None] - theirs, axis=2).min(1).max() < 2e-3
        assert len(mine) == 250


def test_noiseless_arms_of_the_spiral():
    found = made("data=spiral", "data.noise=0", "data.arms=4", "data.turns=1.5").train
    radius = found.x.norm(dim=1)
    angle = torch.atan2(found.x[:, 1], found.x[:, 0]) - 2 * math.pi * (1.5 * radius + found.y / 4)
    assert radius.max() <= 1 and torch.allclose(angle.cos(), torch.ones_like(angle), atol=1e-9)


def test_clouds_of_xor():
    found = made("data=xor", "data.n=40000", "data.noise=0.5").train
    assert found.y.bincount().tolist() == [20000, 20000]
    corners = found.x.sign()  # noise of half the distance to the axes puts few points over them
    agree = ((corners.prod(1) > 0) == (found.y == 1)).double().mean()
    right = 0.5 * (1 + math.erf(2 / math.sqrt(2)))  # that one coordinate keeps its sign
    assert float(agree) == pytest.approx(right**2 + (1 - right) ** 2, abs=0.005)
    centre = found.x[(found.y == 1) & (corners[:, 0] > 0)].mean(0)
    assert torch.allclose(centre, torch.ones(2, dtype=centre.dtype), atol=0.06)


@pytest.mark.parametrize("name", ["sine", "gaussian", "two_moons", "spiral", "xor"])
def test_draws_are_independent_and_share_the_test_set(name):
    first, same, other = (made(f"data={name}", f"data.draw={draw}") for draw in (0, 0, 1))
    assert torch.equal(first.train.x, same.train.x) and torch.equal(first.test.x, other.test.x)
    assert not torch.equal(first.train.x, other.train.x) and torch.equal(first.test.y, other.test.y)
    kinds = [split.x[split.y.flatten() == 0, 0] if first.classes > 1 else split.x[:, 0]
             for split in (first.train, other.train, first.test)]  # fmt: skip
    n = min(map(len, kinds))
    assert abs(np.corrcoef([kind[:n] for kind in kinds]) - np.eye(3)).max() < 0.35


def test_gaussian_has_its_spectrum():
    spectrum = [4.0, 1.0, 0.01]
    exact = gaussian(None, False, n=50, spectrum=spectrum, noise=0.3, exact=True, draw=3).train
    moments = exact.x.T @ exact.x / 50
    assert torch.allclose(moments, torch.diag(torch.tensor(spectrum, dtype=torch.float64)), atol=1e-13)
    assert exact.x.mean(0).abs().max() < 1e-14
    least = torch.linalg.lstsq(exact.x, exact.y).solution
    assert torch.allclose(least, torch.ones_like(least), atol=1e-12)  # the noise is orthogonal
    many = gaussian(None, False, n=20_000, spectrum=spectrum, noise=0.3, exact=False, draw=3).train
    assert many.x.var(0).numpy() == pytest.approx(spectrum, rel=0.05)
    assert float((many.y[:, 0] - many.x.sum(1)).std()) == pytest.approx(0.3, rel=0.03)
    with pytest.raises(UserError, match=r"data\.n=4 must be at least 5"):
        gaussian(None, False, n=4, spectrum=spectrum, noise=0.3, exact=True, draw=0)


def test_mnist1d():
    """Sizes, classes and moments; a linear model does as badly as it is reported to (32 %), far from chance."""
    from sklearn.linear_model import RidgeClassifier

    found = mnist1d(None, False, draw=0).checked("mnist1d")
    assert found.train.x.shape == (4000, 40) and found.test.x.shape == (1000, 40)
    assert found.train.y.bincount().tolist() == [400] * 10 and found.test.y.bincount().tolist() == [100] * 10
    whole = torch.cat([found.train.x, found.test.x])
    assert abs(float(whole.mean())) < 1e-12 and float(whole.std(correction=0)) == pytest.approx(1)
    linear = RidgeClassifier().fit(found.train.x, found.train.y)
    assert 0.25 < linear.score(found.test.x, found.test.y) < 0.40
