"""Pretraining: its losses against closed forms and formulas, what it changes and what not, how it resumes, what is refused."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from conftest import Silent, final_state
from torch import nn
from toy import begun

from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import layer_name, plain_name
from dlreg.pretrain.reconstruct import Masked, mirrored
from dlreg.pretrain.rotation import Turned
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.fitter import CheckpointFile
from dlreg.run.loop import Nobody
from dlreg.run.pretrain import Pretrainer

WORDS = sorted(set(options("pretrain")) - {"none"})
DEEP = ("model.hidden=[12,8]", "epochs=1")
CPU = ("device=cpu", "data.train_size=128", "batch_size=64", "model.hidden=[12,8]", "pretrain.epochs=2")


def pretrained(model, settings, data=None):
    data = data or parts.make_data(settings, parts.load(settings.data))
    pretrainer = Pretrainer(settings, data, settings.seed, Nobody(), lambda *_: Nobody())
    pretrainer(model)
    return pretrainer


def made(*words):
    settings = compose(list({word.split("=")[0]: word for word in [*CPU, *words]}.values()))
    data = parts.make_data(settings, parts.load(settings.data))
    return settings, data, parts.make_model(settings, data, settings.seed)


def tensors(model):
    return {plain_name(k): v.clone() for k, v in model.state_dict().items() if k.startswith("net.") and v.dim()}


class Linear(nn.Module):
    """Two linear layers, no nonlinearity."""

    def __init__(self, size, code):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, code), nn.Linear(code, 10))

    def forward(self, x):
        return self.layers(x)


def test_the_best_linear_autoencoder_is_principal_component_analysis():
    """Its mean squared error is the sum of the variances that the code leaves out (Baldi & Hornik 1989)."""
    words = ("pretrain=autoencoder", "pretrain.epochs=40", "optimizer=lbfgs", "batch_size=full", "precision=fp64")
    settings, data, _ = made(*words, "data.train_size=200", "data.normalize=unit")
    torch.manual_seed(0)
    model = nn.Sequential(OrderedDict(input=nn.Identity(), net=Linear(64, 5))).double()
    model.input = parts.make_model(settings, data, 0).input
    history = pretrained(model, settings, data).histories[0]
    x = to_unit(data.train.x).flatten(1).double()
    left_out = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[:-5].sum() / 64
    assert history[-1]["train_loss"] == pytest.approx(float(left_out), rel=1e-4)


@pytest.mark.parametrize("features", [False, True])
def test_corruption_sets_zero_and_asks_for_the_whole(features):
    front = nn.Sequential(nn.Flatten(), nn.Linear(16, 6)).double()
    x = torch.rand(500, 1, 4, 4, dtype=torch.float64) + 0.1
    task = begun(Masked(front, 0.25, features))
    noisy, y = task.batch(front, x, None)
    assert torch.equal(y, front(x)) and not y.requires_grad
    clean = y if features else x
    assert torch.equal(noisy[noisy != 0], clean[noisy != 0])
    assert float((noisy == 0).double().mean()) == pytest.approx(0.25, abs=0.02)
    assert torch.equal(begun(Masked(front, 0.0, features)).batch(front, x, None)[0], clean)


def test_turns_are_numpys():
    x = torch.rand(3, 2, 5, 5)
    turned, y = Turned().batch(None, x, torch.zeros(3, 4))
    for k in range(4):
        assert np.array_equal(turned[3 * k : 3 * k + 3].numpy(), np.rot90(x.numpy(), k, (2, 3)))
        assert torch.equal(y[3 * k : 3 * k + 3].argmax(1), torch.full((3,), k))


def test_the_decoder_mirrors_the_hidden_layers():
    net = parts.make_model(*made("pretrain=autoencoder", "norm=batch", "model.activation=tanh")[:2], 0).net
    decoder = mirrored(net, 8, 64)
    assert [type(m) for m in decoder] == [nn.Linear, nn.Tanh, nn.Linear]
    assert [(m.in_features, m.out_features) for m in decoder if isinstance(m, nn.Linear)] == [(8, 12), (12, 64)]
    assert [
        m.out_features
        for m in mirrored(made("pretrain=autoencoder", "model.hidden=[9]")[2].net, 9, 64)
        if isinstance(m, nn.Linear)
    ] == [64]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("norm", ["none", "batch", "weight"])
def test_hidden_layers_learn_and_the_head_is_that_of_init(word, norm):
    settings, data, model = made(f"pretrain={word}", f"norm={norm}")
    before, names = tensors(model), list(model.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    found = pretrained(model, settings, data)
    assert torch.equal(torch.rand(2), expected)  # nobody else's random numbers
    after = tensors(model)
    assert list(model.state_dict()) == names
    for name in before:
        if name.endswith("weight"):
            assert torch.equal(before[name], after[name]) == (layer_name(name) == "layers.5"), name
    for rows in found.histories:
        assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_layerwise_trains_one_layer_at_a_time():
    settings, data, model = made("pretrain=layerwise")
    seen = []
    pretrainer = Pretrainer(settings, data, 0, Nobody(), lambda number, _: seen.append(tensors(model)) or Nobody())
    pretrainer(model)
    seen.append(tensors(model))
    for stage, (trained, kept) in enumerate(
        [("layers.1.weight", "layers.3.weight"), ("layers.3.weight", "layers.1.weight")]
    ):
        assert not torch.equal(seen[stage][trained], seen[stage + 1][trained])
        assert torch.equal(seen[stage][kept], seen[stage + 1][kept])


@pytest.mark.parametrize("word", WORDS)
def test_all_samples_take_part_also_those_without_a_label(word):
    settings, data, model = made(f"pretrain={word}", "data.labelled=20", "pretrain.epochs=1")
    samples = []
    forward, model.input.forward = model.input.forward, lambda x: samples.append(len(x)) or forward(x)
    pretrained(model, settings, data)
    assert sum(samples) >= 128 and len(data.train) == 20


@pytest.mark.parametrize("word", WORDS)
def test_no_epochs_are_no_pretraining_to_the_bit(word, settings):
    plain, base = final_state(settings(*DEEP)), settings().outputs
    none = final_state(settings(*DEEP, f"pretrain={word}", "pretrain.epochs=0", f"outputs={base}/zero"))
    assert none[1:] == plain[1:] and none[0].test == plain[0].test


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("saves", [1, 3])
def test_a_kill_inside_it_costs_no_bit(word, saves, settings, monkeypatch):
    base, words = settings().outputs, (*DEEP, f"pretrain={word}", "pretrain.epochs=3", "norm=batch")
    whole = final_state(settings(*words, f"outputs={base}/whole"))

    class Killed(BaseException):
        pass

    save, count = CheckpointFile.save, []

    def killing(self, state):
        save(self, state)
        count.append(1)
        if len(count) == saves:
            raise Killed

    cut = settings(*words, f"outputs={base}/cut")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(CheckpointFile, "save", killing)
        Experiment.of(cut).run(Silent())
    torch.manual_seed(12345)
    continued = final_state(cut)
    assert continued[1:] == whole[1:] and continued[0].test == whole[0].test
    assert continued[0].remarks == whole[0].remarks and f"pretrain={word}" in whole[0].remarks[0]
    assert not list(Experiment.of(cut).folder.glob("checkpoint-*"))


def test_frozen_layers_keep_what_was_learnt_before_the_labels(settings):
    chosen = settings(*DEEP, "pretrain=denoising", "freeze=[layers.1]")
    experiment = Experiment.of(chosen)
    experiment.run(Silent())
    data = parts.make_data(chosen, parts.load(chosen.data))
    model = parts.make_model(chosen, data, chosen.seed)
    pretrained(model, chosen, data)
    saved = torch.load(experiment.folder / "weights", weights_only=True)["last"]
    assert torch.equal(saved["net.layers.1.weight"], model.net.layers[1].weight)
    assert not torch.equal(saved["net.layers.3.weight"], model.net.layers[3].weight)


@pytest.mark.parametrize("model", ["lenet", "resnet", "maxout"])
def test_other_networks(model, run):
    small = {"resnet": ["model.depth=8", "model.width=2"], "maxout": ["model.hidden=[8]"]}.get(model, [])
    for word in ("denoising", "layerwise" if model == "maxout" else "rotation"):
        result = run(f"model={model}", *small, f"pretrain={word}", "pretrain.epochs=1", "epochs=1")
        assert result.status == "done", result.message


@pytest.mark.parametrize("around", ["bagging", "ensemble", "early_stopping", "swa"])
def test_inside_what_fits_more_than_once(around, run):
    few = [f"reg.{around}.k=2"] if around in ("bagging", "ensemble") else []
    result = run(f"reg={around}", *few, "pretrain=autoencoder", "pretrain.epochs=1", "epochs=2")
    assert result.status == "done", result.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model=linear", "pretrain=autoencoder"],
            "pretrain=autoencoder trains hidden layers, and this model has none",
        ),
        (["model=lenet", "pretrain=layerwise"], "takes fully connected layers one by one"),
        (["pretrain=dae"], "pretrain=dae: there is no such option"),
        (["pretrain=denoising", "pretrain.corruption=1"], "pretrain.corruption=1.* must be less than 1"),
        (["pretrain=rotation", "data=sine", "loss=mse", "data.train_size=null"], "needs square images"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(words, message, settings):
    with pytest.raises(UserError, match=message) as refusal:
        Experiment.of(settings(*words)).run(Silent())
    assert len(str(refusal.value).splitlines()) == 1
