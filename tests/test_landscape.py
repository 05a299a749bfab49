"""Paths on two-dimensional surfaces: the surfaces, the facts lectures show on them, the table and the pictures."""

import functools
import re

import pytest
import torch
from PIL import Image

from dlreg.cli import main
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.landscape import surfaces as landscape
from dlreg.landscape.surfaces import SURFACES, Path, Walk, descend


@functools.cache
def path(surface, name, *words, steps=300, noise=0.0):
    node = compose([f"optimizer={name}", *(f"optimizer.{word}" for word in words)]).optimizer
    return descend(name, build("optimizer", node), SURFACES[surface], Walk(steps, noise))


@pytest.mark.parametrize("name", SURFACES)
def test_minima_are_minima(name):
    """The gradient vanishes there, the value is the least, and no point of the window lies lower."""
    surface = SURFACES[name]
    for minimum in surface.minima:
        w = torch.tensor(minimum, dtype=torch.float64, requires_grad=True)
        value = surface.value(w[0], w[1])
        value.backward()
        assert abs(float(value.detach()) - surface.least) < 1e-14 and w.grad.abs().max() < 1e-14
    x, y = torch.meshgrid(*(torch.linspace(*side, 301).double() for side in surface.window), indexing="ij")
    assert surface.value(x, y).min() >= surface.least - 1e-12


@pytest.mark.parametrize("name", ["quadratic", "ravine"])
def test_smoothness_is_the_largest_curvature(name):
    surface = SURFACES[name]
    hessian = torch.autograd.functional.hessian(lambda w: surface.value(w[0], w[1]), torch.zeros(2).double())
    assert float(torch.linalg.eigvalsh(hessian).max()) == pytest.approx(surface.smoothness)


def test_descent_diverges_from_two_over_smoothness_on():
    assert path("quadratic", "sgd", "lr=0.19").reached(1e-3) is not None
    assert path("quadratic", "sgd", "lr=0.21").diverged
    assert path("quadratic", "sgd", "lr=0.21").reached(1e9) is None


def test_descent_with_a_small_rate_never_goes_uphill_and_stays_under_the_bound():
    walked, surface = path("ravine", "sgd", "lr=0.1"), SURFACES["ravine"]
    assert walked.rises == 0
    distance = sum(a**2 for a in surface.start)
    assert all(loss <= 10 * distance / (2 * t) for t, loss in enumerate(walked.losses) if t)


def test_momentum_is_faster_than_descent_on_the_ravine_and_nesterov_overshoots_less():
    walked = {name: path("ravine", name, "lr=0.02", steps=2100) for name in ("nesterov", "momentum", "sgd")}
    steps = {name: walk.reached(1e-3) for name, walk in walked.items()}
    assert steps["sgd"] > 5 * max(steps["nesterov"], steps["momentum"])
    assert walked["sgd"].rises == 0 < walked["nesterov"].rises < walked["momentum"].rises


def test_noise_leaves_a_floor_that_falls_with_the_rate():
    floors = []
    for rate in ("lr=0.1", "lr=0.01"):
        last = path("quadratic", "sgd", rate, steps=2000, noise=1.0).losses[-1000:]
        floors.append(sum(last) / len(last))
    assert 1e-4 < floors[1] < floors[0] / 3


def test_only_curvature_is_drawn_to_the_saddle():
    assert path("saddle", "newton", "damping=0").losses[-1] == pytest.approx(1.0)
    assert path("saddle", "sgd").reached(1e-3) is not None


def test_reached_means_stays():
    walked = Path("a", 0.1, losses=[1.0, 0.01, 0.5, 0.02, 0.01])
    assert (walked.reached(0.1), walked.reached(2.0), walked.reached(0.001), walked.rises) == (3, 0, None, 1)


def test_the_same_seed_draws_the_same_path():
    walks = [path.__wrapped__("beale", "annealing", steps=20, noise=0.1).points for _ in range(2)]
    assert walks[0] == walks[1]


def test_command_draws_and_tells(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dlreg.landscape.figure.FRAMES", 4)  # and the last eight times, as one holds a picture
    words = ["optimizer=sgd,adam", "surface=quadratic", "optimizer.lr=0.1,0.3", "optimizer.betas=[0.8,0.9]"]
    assert main(["landscape", *words, "steps=60", "gif=true", "-o", str(tmp_path / "a" / "b.png")]) == 0
    text = capsys.readouterr().out
    rows = {" ".join(r.split()[1:3]): r for r in text.splitlines() if r.strip().startswith("quadratic")}
    assert set(rows) == {"sgd lr=0.1", "sgd lr=0.3", "adam lr=0.1", "adam lr=0.3"}
    assert "diverged" in rows["sgd lr=0.3"] and "diverged" not in rows["sgd lr=0.1"]
    with Image.open(tmp_path / "a" / "b.png") as image:
        assert image.size[0] > 1000
    with Image.open(tmp_path / "a" / "b.gif") as image:
        assert image.n_frames == 4
        frames = [image.seek(i) or image.convert("L").tobytes() for i in (0, image.n_frames - 1)]
        inked = [sum(byte < 128 for byte in frame) for frame in frames]
        assert inked[1] > inked[0] + 100  # the paths have grown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer=sdg"], "optimizer=sdg: there is no such optimizer. Did you mean sgd"),
        (["surface=salad"], "Did you mean saddle"),
        (["optimizer.momentum=0.5", "optimizer=sgd"], "optimizer.momentum: none of sgd has such a key"),
        (["optimizer.lr=-1"], "optimizer.lr=-1 must be greater than 0"),
        (["steps=0"], "steps=0 must be a whole number, at least 1"),
        (["noise=nan"], "noise=nan must be a number, at least 0"),
        (["gif=maybe"], "gif=maybe must be true or false"),
        (["step=3"], "Did you mean steps"),
        (["-o", "a.jpeg"], "-o a.jpeg must end in .png, .pdf or .svg"),
        (["steps=1", "-o", "/dev/null/a.png"], "cannot be written"),
    ],
)
def test_command_refuses(words, message, capsys):
    assert main(["landscape", *words]) == 2
    found = capsys.readouterr().err
    assert message in found and len(found.splitlines()) == 1


def test_every_surface_has_a_window_that_holds_its_start_and_minima():
    for surface in landscape.SURFACES.values():
        for point in (surface.start, *surface.minima):
            assert all(low <= c <= high for c, (low, high) in zip(point, surface.window, strict=True))
        assert re.search("[xy]", surface.formula)
