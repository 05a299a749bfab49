"""`log=layers`: what is measured in a run's layers, by hand. That it changes no bit of any run, `test_options.py` tests."""

import json

import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from dlreg.data.base import Split
from dlreg.data.normalize import to_unit
from dlreg.log.base import Tracker
from dlreg.model.blocks import weight_layers
from dlreg.report.run_page import run_page
from dlreg.run.experiment import Experiment
from dlreg.run.layers import layers
from dlreg.run.reopen import reopen
from dlreg.run.result import read

PLAIN = (
    "model=linear",
    "optimizer=sgd",
    "batch_size=full",
    "log=layers",
)  # each step has the gradient that is measured


@pytest.fixture
def measured(settings):
    """measured("epochs=3", ...) -> (folder, what layers.json says of each epoch)."""

    def make(*words):
        experiment = Experiment.of(settings(*words))
        assert not experiment.run(Silent()).remarks
        return experiment.folder, json.loads((experiment.folder / "layers.json").read_text())["epochs"]

    return make


def gradient(folder):
    """Of the final weights of softmax regression, by its formula, in float64; and these weights."""
    opened = reopen(folder)
    layer, x = weight_layers(opened.model)[-1], opened.data.train.x
    with torch.no_grad():
        h = opened.model[0](to_unit(x)).flatten(1).double()
        weight, bias = layer.weight.double(), layer.bias.double()
        error = (h @ weight.T + bias).softmax(1) - F.one_hot(opened.data.train.y, 10)
    return error.T @ h / len(h), weight


@pytest.mark.parametrize(
    ("words", "step"),
    [
        ([], lambda g, w: -0.1 * g),
        (["reg=l2", "reg.l2.alpha=0.5"], lambda g, w: -0.1 * (g + 0.5 * w)),
        (["reg=maxnorm", "reg.maxnorm.c=0.01"], lambda g, w: torch.renorm(w - 0.1 * g, 2, 0, 0.01) - w),
        (["schedule=cosine"], lambda g, w: -0.1 * 0.5 * g),  # of two epochs, the last step is taken halfway
        (["schedule=constant", "optimizer=lion", "optimizer.lr=0.1", "optimizer.weight_decay=0", "epochs=1"],
         lambda g, w: 0.1 * torch.ones_like(w) * (g != 0)),
    ],
)  # fmt: skip
def test_gradient_and_update_by_formula(words, step, measured):
    folder, epochs = measured(*PLAIN, *words)
    found = epochs[-1]["layers"][-1]
    g, weight = gradient(folder)
    assert found["weight"] == pytest.approx(float(weight.norm()), rel=1e-5)
    assert found["gradient"] == pytest.approx(float(g.norm()), rel=1e-4)
    assert found["update"] == pytest.approx(float(step(g, weight).norm()), rel=1e-3)


def test_weights_that_are_made_or_frozen():
    """Of a weight that is made of others the one that acts; of a frozen one no gradient. The model is left as it was."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.PReLU(), nn.Linear(5, 3)).train()
    batch = Split(torch.randn(30, 4), torch.randint(3, (30,)))
    plain = layers(net, batch)
    weight_norm(net[2])
    net[0].weight.requires_grad_(False)
    first, prelu, last = layers(net, batch)
    assert (
        first.gradient is None
        and first.weight == plain[0].weight
        and prelu.gradient == pytest.approx(plain[1].gradient)
    )
    assert last.gradient == pytest.approx(plain[2].gradient) and last.weight == pytest.approx(plain[2].weight)
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert all(p.grad is None for p in net.parameters())
    mean = layers(net, Split(batch.x, torch.randn(30, 3)), F.mse_loss)[2].gradient
    assert mean and mean != last.gradient


def test_a_run_that_goes_on_keeps_what_it_measured(settings):
    class Cut(Silent):
        def epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    experiment = Experiment.of(settings("epochs=3", "log=layers"))
    with pytest.raises(KeyboardInterrupt):
        experiment.run(Cut())
    experiment.run(Silent())
    epochs = json.loads((experiment.folder / "layers.json").read_text())["epochs"]
    assert [row["epoch"] for row in epochs] == [1, 3]  # the cut came before the second was looked at


def test_nothing_is_measured_that_nobody_asks_for(settings, monkeypatch):
    monkeypatch.setattr("dlreg.run.twin.Twin.layers", lambda self: pytest.fail("it was measured"))
    assert Experiment.of(settings("log=csv")).run(Silent()).remarks == []


def test_a_look_that_fails_ends_the_looking(settings, monkeypatch):
    asked = []
    monkeypatch.setattr("dlreg.run.twin.Twin.layers", lambda self: asked.append(1) or 1 / 0)
    result = Experiment.of(settings("log=layers")).run(Silent())
    assert result.status == "done" and result.remarks == ["log=layers failed: ZeroDivisionError: division by zero"]
    assert len(asked) == 1


def test_trackers_share_a_look(settings, monkeypatch):
    class Curious(Tracker):
        def layers(self, row, look):
            seen.append((row["epoch"], look()))

    seen = []
    monkeypatch.setattr("dlreg.run.experiment.make_trackers", lambda settings: {"a": Curious(), "b": Curious()})
    assert not Experiment.of(settings("epochs=1")).run(Silent()).remarks
    assert len(seen) == 2 and seen[0][1] is seen[1][1]


def test_the_page_shows_three_epochs(settings):
    experiment = Experiment.of(settings("epochs=5", "log=layers"))
    experiment.run(Silent())
    page = run_page(read(experiment.folder))
    table = page[page.index('aria-label="layers"') :]
    cells = [row.split("<td")[1:3] for row in table[: table.index("</table>")].split("<tr>")[2:]]
    epochs = [cell.partition(">")[2].partition("<")[0] for _, cell in cells]
    assert epochs == ["1", "3", "5"] * 3  # the hidden layer, its ReLU, the output
    assert "update / weight" in table and "dead %" in table
    (experiment.folder / "layers.json").write_text("{")  # damaged: the final weights are still there
    assert "gradient / weight" in run_page(read(experiment.folder))
