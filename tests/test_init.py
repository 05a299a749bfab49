"""Initializations: moments, limits and counts of drawn weights, on every kind of layer, and where a network starts."""

import math

import pytest
import torch
from conftest import Silent
from torch import nn

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.errors import UserError
from dlreg.model.lenet import LocalConv2d
from dlreg.norm.weights import weight as weight_norm
from dlreg.run.experiment import Experiment

LAYERS = {  # layer, n_in, n_out: connections of a unit
    "linear": (lambda: nn.Linear(400, 600), 400, 600),
    "conv": (lambda: nn.Conv2d(40, 60, 3), 360, 540),
    "local": (lambda: LocalConv2d(8, 12, 3, 1, [20, 20]), 72, 108),
}
NODES = {word: compose([f"init={word}"]).init for word in options("init")}


def filled(word, kind="linear", seed=0, **hyper):
    torch.manual_seed(0)
    layer = LAYERS[kind][0]().double()
    build("init", {**NODES[word], **hyper})(layer, torch.Generator().manual_seed(seed))
    return layer


def z_of_variance(w, variance, kurtosis):
    """How many standard errors the mean square of n independent draws is from their variance."""
    return abs(w.square().mean() / variance - 1) / math.sqrt((kurtosis - 1) / w.numel())


UNIFORM = {  # n, m -> the limit a of U(-a, a), as the lectures print it
    "fan_in_uniform": lambda n, m: 1 / math.sqrt(n),
    "xavier_uniform": lambda n, m: math.sqrt(6) / math.sqrt(n + m),
    "he_uniform": lambda n, m: math.sqrt(6 / n),
    "lecun_uniform": lambda n, m: math.sqrt(3 / n),
}
NORMAL = {  # n, m -> the variance
    "normal": lambda n, m: 0.01**2,
    "xavier_normal": lambda n, m: 2 / (n + m),
    "he_normal": lambda n, m: 2 / n,
    "lecun_normal": lambda n, m: 1 / n,
}


def test_every_option_is_tested_here():
    assert set(options("init")) == {*UNIFORM, *NORMAL, "default", "zeros", "sparse", "orthogonal"}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("word", UNIFORM)
def test_uniform_limits_and_variance(word, kind):
    _, n, m = LAYERS[kind]
    a, layer = UNIFORM[word](n, m), filled(word, kind)
    w = layer.weight.detach().flatten()
    assert w.abs().max() <= a and w.abs().max() > a * (1 - 40 / len(w))  # P(no draw beyond) = exp(-40)
    assert z_of_variance(w, a**2 / 3, 9 / 5) < 5.5 and abs(w.mean()) < 5.5 * a / math.sqrt(3 * len(w))
    assert not layer.bias.any()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("word", NORMAL)
def test_normal_variance(word, kind):
    _, n, m = LAYERS[kind]
    variance, layer = NORMAL[word](n, m), filled(word, kind)
    w = layer.weight.detach().flatten()
    assert z_of_variance(w, variance, 3) < 5.5 and abs(w.mean()) < 5.5 * math.sqrt(variance / len(w))
    tail = (w.abs() > 2 * math.sqrt(variance)).double().mean()  # 4.55 % of a normal law, 0 of a uniform one
    assert abs(tail - 0.0455) < 5.5 * math.sqrt(0.0455 / len(w))
    assert not layer.bias.any()


def test_ten_times_the_standard_normal_law():
    w = filled("normal", std=10.0).weight
    assert z_of_variance(w, 100, 3) < 5.5


@pytest.mark.parametrize("word", ["xavier_uniform", "xavier_normal"])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_xavier_equals_torchs_draw_for_draw(word, kind):
    layer = filled(word, kind, seed=7)
    theirs = torch.empty_like(layer.weight)
    getattr(nn.init, word + "_")(theirs, generator=torch.Generator().manual_seed(7))
    assert torch.allclose(layer.weight, theirs, atol=1e-15)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_he_equals_torchs_draw_for_draw(kind):
    for word in ("normal", "uniform"):
        layer = filled(f"he_{word}", kind, seed=7)
        theirs = torch.empty_like(layer.weight)
        generator = torch.Generator().manual_seed(7)
        getattr(nn.init, f"kaiming_{word}_")(theirs, nonlinearity="relu", generator=generator)
        assert torch.allclose(layer.weight, theirs, atol=1e-15)


def test_default_is_torchs_own_with_its_biases():
    layer = filled("default")
    torch.manual_seed(0)
    theirs = nn.Linear(400, 600).double()
    assert torch.equal(layer.weight, theirs.weight) and torch.equal(layer.bias, theirs.bias) and layer.bias.any()
    assert layer.weight.abs().max() <= 1 / math.sqrt(400)
    assert z_of_variance(layer.weight, 1 / 1200, 9 / 5) < 5.5


@pytest.mark.parametrize("kind", LAYERS)
def test_zeros(kind):
    layer = filled("zeros", kind)
    assert not layer.weight.any() and not layer.bias.any()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("k", [1, 15])
def test_sparse_has_k_normal_weights_per_unit(kind, k):
    layer = filled("sparse", kind, k=k, std=0.5)
    rows = layer.weight.detach().flatten(1)
    assert ((rows != 0).sum(1) == k).all()
    assert z_of_variance(rows[rows != 0], 0.25, 3) < 5.5
    used = (rows != 0).double().mean(0)  # every input is chosen as often as any other
    p = k / rows.shape[1]
    assert (used - p).abs().max() < 7 * math.sqrt(p * (1 - p) / len(rows)) + 7 / len(rows)
    assert not layer.bias.any()


def test_sparse_keeps_all_inputs_of_a_unit_that_has_fewer():
    layer = nn.Linear(4, 3)
    build("init", NODES["sparse"])(layer, torch.Generator().manual_seed(0))
    assert (layer.weight != 0).all()


@pytest.mark.parametrize(("n_in", "n_out"), [(30, 20), (20, 30), (25, 25)])
def test_orthogonal_rows_or_columns(n_in, n_out):
    layer = nn.Linear(n_in, n_out).double()
    build("init", {**NODES["orthogonal"], "gain": 2.0})(layer, torch.Generator().manual_seed(0))
    w = layer.weight.detach()
    gram = w @ w.T if n_out <= n_in else w.T @ w
    assert torch.allclose(gram, 4 * torch.eye(min(n_in, n_out), dtype=torch.float64), atol=1e-12)
    assert not layer.bias.any()


@pytest.mark.parametrize("kind", ["conv", "local"])
def test_orthogonal_kernels(kind):
    layer = filled("orthogonal", kind)
    for w in layer.weight.detach().flatten(1).split(layer.out_channels):  # one matrix, or one per position
        assert torch.allclose(w @ w.T, torch.eye(len(w), dtype=torch.float64), atol=1e-12)


def test_orthogonal_matrices_are_evenly_drawn():
    """An even law has E[trace Q] = 0; QR without the correction of signs has not."""
    generator, traces, layer = torch.Generator().manual_seed(0), [], nn.Linear(3, 3).double()
    for _ in range(4000):
        build("init", NODES["orthogonal"])(layer, generator)
        traces.append(layer.weight.detach().trace())
    assert abs(torch.stack(traces).mean()) < 5.5 / math.sqrt(4000)  # the trace of an even law has variance 1


@pytest.mark.parametrize("word", [w for w in NODES if w != "default"])
def test_same_generator_same_weights_and_no_other_random_numbers(word):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, other = (filled(word, seed=s).weight for s in (3, 3, 4))
    assert torch.equal(first, second) and (word == "zeros" or not torch.equal(first, other))
    layer = nn.Linear(4, 4)
    torch.set_rng_state(before)
    build("init", NODES[word])(layer, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("word", [w for w in NODES if w not in ("default", "zeros")])
def test_a_parametrized_weight_takes_the_same_values(word):
    layers = []
    for wrap in (weight_norm, lambda layer: layer):
        layer = wrap(nn.Linear(400, 600).double())
        build("init", NODES[word])(layer, torch.Generator().manual_seed(3))
        layers.append(layer)
    assert torch.allclose(layers[0].weight, layers[1].weight, atol=1e-14)
    assert not layers[0].bias.any()


@pytest.mark.parametrize("model", ["mlp", "linear", "lenet"])
def test_zeros_start_at_ln_k_in_a_real_run(run, model):
    """With one step per epoch the first row's training loss is the loss before any update."""
    result = run(f"model={model}", "init=zeros", "batch_size=full", "epochs=1")
    assert result.history[0]["train_loss"] == pytest.approx(math.log(10), abs=1e-6)


def test_zeros_learn_the_class_frequencies_and_nothing_else(run):
    """Zero weights and tanh: only the output's bias has a gradient, so the loss cannot fall below the prior's entropy."""
    result = run("init=zeros", "model=mlp", "model.activation=tanh", "model.hidden=[8,8]", "batch_size=full",
                 "epochs=30", "optimizer.lr=1.0")  # fmt: skip
    assert result.history[-1]["train_loss"] > 2.25
    assert result.train["error"] > 0.8
    trained = run("init=xavier_normal", "model=mlp", "model.activation=tanh", "model.hidden=[8,8]", "batch_size=full",
                  "epochs=30", "optimizer.lr=1.0")  # fmt: skip
    assert trained.history[-1]["train_loss"] < 1.5


@pytest.mark.parametrize(("key", "value"), [("std", -1), ("k", 0), ("gain", 0)])
def test_bad_values_are_refused(settings, key, value):
    word = {"std": "normal", "k": "sparse", "gain": "orthogonal"}[key]
    with pytest.raises(UserError, match=rf"init\.{key}={value}"):
        Experiment.of(settings(f"init={word}", f"init.{key}={value}")).run(Silent())
