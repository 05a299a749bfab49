"""The HTML pages of runs, studies and folders: well-formed, alone, told to a screen reader; and the numbers on them."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Silent
from results import fixed, result

from dlreg.data.base import Split
from dlreg.errors import UserError
from dlreg.report.judge import compare
from dlreg.report.mistakes import brier, calibration_error, confusion, reliability, worst
from dlreg.report.plot import figure
from dlreg.report.run_page import run_page
from dlreg.report.study_page import study_page
from dlreg.report.svg import Chart, ticks
from dlreg.run.experiment import Experiment
from dlreg.run.layers import layers
from dlreg.run.predictions import Predictions, predictions
from dlreg.run.reopen import reopen
from dlreg.run.result import read

VOID = {"meta", "img", "br", "hr", "input", "link"}
OPTIONAL = {"polyline", "path", "rect", "circle", "image"}  # of SVG: they close themselves


class Checked(HTMLParser):
    """Refuses what is not balanced, is named twice, has no words for the blind, or reaches outside the page."""

    def __init__(self, page):
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.text, self.levels = [], set(), [], [], [], []
        self.feed(page)
        assert not self.open, self.open
        assert {link[1:] for link in self.links if link.startswith("#")} <= self.ids
        assert self.levels[0] == 1 and self.levels.count(1) == 1
        assert all(b <= a + 1 for a, b in zip(self.levels, self.levels[1:], strict=False)), "a heading is skipped"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs), f"{tag} has an attribute twice"
        assert not [k for k in given if k.startswith("on") or k == "style"], "the policy would not let it act"
        if tag == "svg":
            assert given.get("aria-hidden") == "true" or (given["role"] == "img" and given["aria-label"])
        if tag == "img":
            assert given["role"] == "img" and given["alt"] and given["width"] and given["height"]
        if "scope" not in given:
            assert tag != "th"
        for key in ("src", "href"):
            if key in given:
                assert given[key].startswith("data:image/png;base64,") == (tag in ("img", "image"))
                assert not re.match(r"(\w+:)?//", given[key])
                self.links += [given[key]] * (tag == "a")
        if "tabindex" in given:
            assert given["role"] == "region" and given["aria-label"]
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(given["id"])
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in OPTIONAL
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def page(settings):
    """page("data=...") -> (the checked page of a run, its result)."""

    def make(*words):
        experiment = Experiment.of(settings(*words))
        experiment.run(Silent())
        found = read(experiment.folder)
        return Checked(run_page(found)), found

    return make


def test_a_run_of_images(page):
    checked, found = page("reg=dropout")
    text = "".join(checked.text)
    for title in (
        "Settings",
        "Training",
        "Classes",
        "Worst mistakes",
        "Calibration",
        "First layer",
        "Layers",
        "Weights",
    ):
        assert title in text
    assert f"{100 * found.test['last']['error']:.2f} %" in text and "reg.dropout.p" in text
    mistakes = round(found.test["last"]["error"] * 360)
    assert checked.tags.count("img") == min(24, mistakes) + 16  # and the 16 hidden units
    assert checked.tags.count("svg") == 3 + 2 + 2  # curves, calibration, two layers


def test_classes_by_name(page, data_root):
    text = "".join(page("data=image_folder", f"data.root={data_root}", "data.size=8", "data.train_size=null")[0].text)
    assert "cat" in text and re.search(r"#\d+: (cat, said dog|dog, said cat)", text)


def test_two_features_have_regions(page, tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 2, generator=generator).numpy()
    y = (x[:, 0] > 0).astype(int)
    np.savez(tmp_path / "plane.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    checked, found = page("data=npz", f"data.root={tmp_path}", "data.file=plane.npz", "data.train_size=null")
    axes = figure(compare([found]), "regions").axes[0]
    assert len(axes.collections[0].get_offsets()) == 20 and axes.images[0].get_array().shape[2] == 3
    model = reopen(found.folder).model
    for place, class_ in (
        ((0, 0), 0),
        ((0, -1), 1),
    ):  # the picture's upper corners are the classes that the model says there
        x0, x1, _, y1 = axes.images[0].get_extent()
        corner = torch.tensor([[(x0, x1)[place[1]], y1]])
        assert int(model(corner).argmax(1)) == class_
        assert np.argmax(axes.images[0].get_array()[place]) == (2, 0)[class_]  # blue, then orange
    assert "Decision regions" in "".join(checked.text) and checked.tags.count("image") == 1
    assert checked.tags.count("circle") >= 20


def test_regions_need_two_features(page):
    with pytest.raises(UserError, match="--kind regions draws classes over two features"):
        figure(compare([page("epochs=1")[1]]), "regions")


def test_committees_and_what_is_missing(page, settings):
    checked, _ = page("reg=bagging", "reg.bagging.k=2")
    assert "The first member of the committee" in "".join(checked.text)
    checked, _ = page("save_weights=false", "data.val_size=0")
    text = "".join(checked.text)
    assert "Not shown:" in text and "Classes" in text and "were not kept" in text
    diverged = result("l2", 2, status="diverged")
    assert "diverged at step 7" in "".join(Checked(run_page(diverged)).text)


def test_a_folder_with_a_page_for_each_run(page, tmp_path, spoken, monkeypatch):
    for words in (("seed=0",), ("seed=1",), ("reg=dropout", "seed=0"), ("reg=dropout", "seed=1")):
        page(*words, "epochs=1")
    status, out, _ = spoken("report", f"{tmp_path}/outputs", "--runs", "-o", f"{tmp_path}/page.html")
    assert status == 0 and out.strip() == f"{tmp_path}/page.html"
    whole = Checked(Path(out.strip()).read_text())
    inner = [link for link in whole.links if not link.startswith("#")]
    assert len(inner) == 4
    for link in inner:
        one = Checked((tmp_path / link).read_text())
        [home] = [back for back in one.links if not back.startswith("#")]
        assert (tmp_path / link).parent.joinpath(home).resolve() == tmp_path / "page.html"
    assert "reg none → dropout; reg.dropout.p 0.5" in "".join(whole.text)
    monkeypatch.chdir(tmp_path)  # a run by its name in outputs
    assert spoken("report", Path(inner[0]).stem, "-o", "one.html")[0] == 0
    assert Checked(Path("one.html").read_text()).tags.count("nav") == 1


def test_a_table_and_hostile_names():
    table = compare(fixed())
    tame = Checked(study_page(table, {}))
    for row in table.rows:
        for key in row.label:
            row.label[key] += "<b>&\"'</b>"
    wild = Checked(study_page(table, {}))
    assert wild.tags == tame.tags


def test_what_is_refused(spoken, tmp_path):
    for words, said in ((["-o", "x.pdf"], "must end in .html"), (["nothing"], "neither a folder nor a study")):
        status, _, err = spoken("report", *words)
        assert status == 2 and said in err and len(err.splitlines()) == 1


def small():
    p = np.array([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    return Predictions(np.array([0, 1, 1, 0]), p.argmax(1), p)


def test_numbers_by_hand():
    found = small()
    assert confusion(found, 3).tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert worst(found) == [3, 1]  # wrong at 0.7, then at 0.6
    by_hand = (0.01 + 0.01) + (0.36 + 0.49 + 0.01) + (0.04 + 0.09 + 0.01) + (0.81 + 0.04 + 0.49)
    assert brier(found) == pytest.approx(by_hand / 4)
    bins = reliability(found)
    assert [(b.samples, b.accuracy) for b in bins] == [(1, 0.0), (2, 0.5), (1, 1.0)]
    assert calibration_error(bins) == pytest.approx((0.6 + 2 * 0.2 + 0.1) / 4)


def test_calibration_error_is_that_of_the_result(page):
    _, found = page()
    ours = calibration_error(reliability(predictions(found)))
    assert ours == pytest.approx(found.test["last"]["ece"], abs=2e-3)  # kept in half precision


def test_a_chart_puts_data_where_its_ticks_say():
    chart = Chart("x", (0.0, 10.0), (1.0, 3.0))
    assert chart.at(0, 1) == (50, 186) and chart.at(10, 3) == (350, 8) and chart.at(5, 2) == (200, 97)
    assert ticks((0.0, 10.0)) == [0, 2, 4, 6, 8, 10] and all(0.13 <= t <= 0.17 for t in ticks((0.13, 0.17)))
    flat = Chart("x", (1.0, 1.0), (0.0, 0.0))
    flat.line([(1.0, 0.0)])
    assert "nan" not in flat.svg() and "<circle" in flat.svg()  # a line of one point is seen


def test_layers_by_hand():
    """The gradient of softmax regression is (p - y)'x / n; a unit with a large negative bias is dead."""
    generator = torch.Generator().manual_seed(0)
    batch = Split(torch.randn(30, 4, generator=generator), torch.randint(3, (30,), generator=generator))
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).train()
    with torch.no_grad():
        net[0].bias[:2] = -100
    first, relu, last = layers(net, batch)
    assert (first.name, relu.name, last.name) == ("0", "1 (ReLU)", "2") and relu.dead == pytest.approx(2 / 5)
    hidden = net[:2](batch.x).detach()
    error = net[2](hidden).softmax(1).detach() - torch.eye(3)[batch.y]
    assert last.gradient == pytest.approx(float((error.T @ hidden / 30).norm()), rel=1e-5)
    assert (
        last.weight == pytest.approx(float(net[2].weight.detach().norm()))
        and last.gradient_to_weight == last.gradient / last.weight
    )
    assert relu.activation == pytest.approx(float(hidden.square().mean().sqrt()))
    assert all(p.grad is None for p in net.parameters())
    assert not net[0]._forward_hooks
