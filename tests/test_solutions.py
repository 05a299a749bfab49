"""The loss around and between solutions: closed forms, and what a direction must be."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from conftest import Silent
from torch import nn

from dlreg.errors import UserError
from dlreg.landscape.solutions import between, filter_normalized, line, plane, walk
from dlreg.run.experiment import Experiment


def squared(x, y):
    return lambda model: {"loss": float((model(x) - y).detach().square().sum(1).mean() / 2), "error": 0.0}


def linear(seed, n_in=4, n_out=3):
    torch.manual_seed(seed)
    return nn.Linear(n_in, n_out, dtype=torch.float64)


def test_surface_of_a_linear_model_is_the_quadratic():
    """L(w + d) = L(w) + g.d + d'Hd/2 with g and H of the normal equations, d = alpha d1 + beta d2."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(50, k, generator=generator, dtype=torch.float64) for k in (4, 3))
    model = linear(0)
    directions = [filter_normalized(model, seed) for seed in (0, 1)]
    residual = (x @ model.weight.T + model.bias - y).detach()
    gradient, gram = residual.T @ x / 50, x.T @ x / 50
    base = float(residual.square().sum(1).mean() / 2)
    for point in walk(model, directions, plane(2.0, 5), squared(x, y)):
        d = point.alpha * directions[0]["weight"] + point.beta * directions[1]["weight"]
        exact = base + float((gradient * d).sum() + ((d @ gram) * d).sum() / 2)
        assert point.loss == pytest.approx(exact, rel=1e-12)


def test_line_between_linear_models_is_a_parabola_through_both():
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(30, k, generator=generator, dtype=torch.float64) for k in (4, 3))
    ends, measure = [linear(0), linear(1)], squared(x, y)
    found = list(walk(ends[0], [between(*ends)], line(0.5, 6), measure))
    by_place = {point.alpha: point.loss for point in found}
    assert [by_place[0.0], by_place[1.0]] == pytest.approx([measure(end)["loss"] for end in ends], rel=1e-12)
    fit = np.polyfit(list(by_place), list(by_place.values()), 2)
    assert np.allclose(np.polyval(fit, list(by_place)), list(by_place.values()), rtol=1e-10)
    with pytest.raises(UserError, match="no line between"):
        between(ends[0], linear(0, 5))


def test_filters_are_as_long_as_the_models_and_the_rest_stays():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5, 4))
    with torch.no_grad():
        model[0].weight[2] = 0
    direction = filter_normalized(model, 0)
    assert set(direction) == {"0.weight", "3.weight"}
    for name, d in direction.items():
        assert torch.allclose(d.flatten(1).norm(dim=1), model.get_parameter(name).flatten(1).norm(dim=1), rtol=1e-5)
    assert not direction["0.weight"][2].any()


def test_scaling_that_computes_the_same_has_the_same_surface():
    """Li et al. (2018), section 4: relu(c w1), w2 / c. Without the normalization of filters it would look flatter."""
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nets = []
    for scale in (1.0, 10.0):
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
        with torch.no_grad():
            net[0].weight *= scale
            net[2].weight /= scale
        nets.append([p.loss for p in walk(net, [filter_normalized(net, 0)], plane(1.0, 3), squared(x, 0.0))])
    assert nets[0] == pytest.approx(nets[1], rel=1e-9)


def test_the_model_stays_as_it_was():
    model = linear(0)
    before = [p.clone() for p in model.parameters()]
    list(walk(model, [filter_normalized(model, 0)], plane(1.0, 3), lambda m: {"loss": 0.0, "error": 0.0}))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.fixture
def folders(settings):
    found = []
    for words in (("norm=batch", "seed=0"), ("norm=batch", "seed=1"), ("reg=bagging", "reg.bagging.k=2")):
        experiment = Experiment.of(settings(*words, "epochs=1"))
        experiment.run(Silent())
        found.append(str(experiment.folder))
    return found


def test_command(folders, spoken, tmp_path):
    out = tmp_path / "plane.csv"
    status, _, err = spoken("surface", folders[0], "-o", str(out), "--points", "3", "--samples", "64")
    assert status == 0, err
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 9 and float(rows[4]["alpha"]) == 0 == float(rows[4]["beta"])
    assert float(rows[4]["loss"]) == min(float(row["loss"]) for row in rows)
    assert spoken("surface", folders[0], "-o", str(tmp_path / "far.json"), "--points", "2", "--span", "1e60")[0] == 0
    far = json.loads((tmp_path / "far.json").read_text(), parse_constant=pytest.fail)["points"]
    assert {p["loss"] for p in far} == {None}  # no longer a number
    assert spoken("surface", folders[0], "-o", str(tmp_path / "far.png"), "--points", "3", "--span", "1e60")[0] == 0
    out = tmp_path / "line.json"
    assert spoken("surface", *folders[:2], "-o", str(out), "--points", "3")[0] == 0
    assert [p["alpha"] for p in json.loads(out.read_text())["points"]] == [-0.25, 0, 0.5, 1, 1.25]
    for name, head in (("s.png", b"\x89PNG"), ("s.svg", b"<?xml"), ("s.pdf", b"%PDF")):
        assert spoken("surface", folders[0], "-o", str(tmp_path / name), "--points", "2", "--samples", "9")[0] == 0
        assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--points", "1"], "--points=1 must be at least 2"),
        (["--span", "nan"], "--span=nan must be above 0"),
        (["--span", "inf"], "--span=inf must be above 0"),
        (["-o", "x.gif"], "must end in .png, .svg, .pdf, .csv, .json"),
        (["a", "b"], "b: give one run, or two"),
        ([], "is not the folder of a finished run"),
    ],
)
def test_what_is_refused(words, said, spoken):
    status, _, err = spoken("surface", "nothing", *words)
    assert status == 2 and said in err and len(err.splitlines()) == 1


def test_a_committee_has_no_surface(folders, spoken):
    status, _, err = spoken("surface", folders[2])
    assert status == 2 and "a committee is not one solution" in err
