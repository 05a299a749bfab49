"""Normalizations against their formulas, in training and evaluation, and the two that act on weights."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from torch import nn
from torch.nn.utils import parametrizations

from dlreg.context import Context
from dlreg.errors import UserError
from dlreg.init import fill
from dlreg.model.blocks import Through, weight_layers, weights
from dlreg.model.lenet import LocalConv2d
from dlreg.norm import layers
from dlreg.norm import weights as by_weight
from dlreg.reg.dropout import Dropout
from dlreg.run import parts
from dlreg.run.experiment import Experiment

EPS = 1e-5


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def linear(n_in=5, n_out=8):
    torch.manual_seed(0)
    return nn.Linear(n_in, n_out).double()


def conv(n_in=3, n_out=8, **options):
    torch.manual_seed(0)
    return nn.Conv2d(n_in, n_out, 3, **options).double()


def local():
    torch.manual_seed(0)
    return LocalConv2d(3, 4, 3, 1, [6, 5]).double()


def shuffled_affine(net):
    """Gains and shifts that are not 1 and 0."""
    norm = net[1]
    for p in norm.parameters():
        p.data = rand(*p.shape, seed=3)
    return norm


def close(a, b, atol=1e-12):
    assert a.shape == b.shape and (a - b).abs().max() < atol, (a - b).abs().max()


# ---- activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("make", [linear, conv])
def test_batch_norm_by_hand_in_training_and_evaluation(make, momentum):
    net = layers.batch(make(), eps=EPS, momentum=momentum, scale=True).double()
    norm = shuffled_affine(net)
    shape = (7, 5) if make is linear else (7, 3, 6, 6)
    mean, var = torch.zeros(8, dtype=torch.float64), torch.ones(8, dtype=torch.float64)
    for seed in range(3):  # Algorithm 1, and the running moments over three batches
        x = rand(*shape, seed=seed)
        h = F.linear(x, net[0].weight) if make is linear else F.conv2d(x, net[0].weight)
        flat = h.transpose(0, 1).flatten(1)
        mu, sigma2 = flat.mean(1), flat.var(1, unbiased=False)
        hat = (flat - mu[:, None]) / (sigma2[:, None] + EPS).sqrt()
        wanted = (norm.weight[:, None] * hat + norm.bias[:, None]).view_as(h.transpose(0, 1)).transpose(0, 1)
        close(net.train()(x), wanted)
        mean = (1 - momentum) * mean + momentum * mu
        var = (1 - momentum) * var + momentum * flat.var(1, unbiased=True)
    close(norm.running_mean, mean)
    close(norm.running_var, var)
    hat = (flat - mean[:, None]) / (var[:, None] + EPS).sqrt()
    wanted = (norm.weight[:, None] * hat + norm.bias[:, None]).view_as(h.transpose(0, 1)).transpose(0, 1)
    close(net.eval()(x), wanted)
    close(norm.running_mean, mean)  # evaluation leaves them alone


@pytest.mark.parametrize("make", [linear, conv])
def test_batch_norm_without_gamma_shifts_only(make):
    net = layers.batch(make(), eps=EPS, momentum=0.1, scale=False).double()
    full = layers.batch(make(), eps=EPS, momentum=0.1, scale=True).double()
    net[1].bias.data = full[1].bias.data = rand(8, seed=3)
    x = rand(7, 5) if make is linear else rand(7, 3, 6, 6)
    for train in (True, False):
        close(net.train(train)(x), full.train(train)(x))
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "1.bias"]


def test_layer_norm_by_hand():
    net = layers.layer(linear(), eps=EPS).double()
    norm = shuffled_affine(net)
    x = rand(7, 5)
    h = F.linear(x, net[0].weight)
    hat = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + EPS).sqrt()
    close(net(x), hat * norm.weight + norm.bias)


@pytest.mark.parametrize(("word", "dims", "groups"), [("layer", 8, 1), ("group", 2, 4), ("instance", 1, 8)])
def test_image_norms_by_hand(word, dims, groups):
    """Moments of one sample: over all channels, over each of 4 groups of 2, over each channel; gains per channel."""
    options = {"group": {"groups": 4}}.get(word, {})
    net = getattr(layers, word)(conv(), eps=EPS, **options).double()
    norm = shuffled_affine(net)
    x = rand(4, 3, 6, 6)
    h = F.conv2d(x, net[0].weight)
    parts = h.view(4, groups, dims * 16)
    hat = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, unbiased=False, keepdim=True) + EPS).sqrt()
    wanted = hat.view_as(h) * norm.weight[:, None, None] + norm.bias[:, None, None]
    for train in (True, False):
        close(net.train(train)(x), wanted)


@pytest.mark.parametrize(
    ("features", "asked", "image", "groups"),
    [(32, 8, True, 8), (12, 8, True, 6), (7, 8, True, 7), (4, 8, True, 4), (1, 8, True, 1),
     (256, 8, False, 8), (16, 8, False, 4), (10, 8, False, 2), (7, 8, False, 1), (2, 8, False, 1)],
)  # fmt: skip
def test_number_of_groups(features, asked, image, groups):
    layer = nn.Conv2d(1, features, 1) if image else nn.Linear(1, features)
    assert layers.group(layer, groups=asked, eps=EPS)[1].num_groups == groups


@pytest.mark.parametrize("word", ["layer", "group"])
def test_a_single_unit_cannot_be_normalized(word):
    options = {"groups": 2} if word == "group" else {}
    with pytest.raises(UserError, match=f"norm={word}"):
        getattr(layers, word)(nn.Linear(3, 1), eps=EPS, **options)


def test_instance_norm_leaves_linear_layers_alone():
    layer = linear()
    assert layers.instance(layer, eps=EPS) is layer and layer.bias is not None
    assert layers.none(layer) is layer


@pytest.mark.parametrize("word", ["batch", "layer", "group", "instance"])
def test_norms_act_where_no_layer_stands_before(word):
    options = {"batch": {"momentum": 0.1, "scale": True}, "group": {"groups": 4}}.get(word, {})
    net = getattr(layers, word)(Through(8), eps=EPS, **options).double()
    x = 3 + 2 * rand(16, 8, 5, 5)
    assert net(x).mean().abs() < 1e-9 and abs(net(x).var() - 1) < 1e-3


def test_weight_norms_pass_a_place_without_weights():
    place = Through(8)
    assert by_weight.weight(place) is place and by_weight.cosine(place, eps=1e-8) is place


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [linear, conv, local])
def test_weight_norm_by_hand(make):
    """w = g v / ||v|| with one g a unit: it starts as the layer it stands for, and follows g and v."""
    plain, net = make(), by_weight.weight(make())
    x = rand(4, 5) if make is linear else rand(4, 3, 6, 5)
    close(net(x), plain(x))
    g, v = net.parametrizations.weight.original0, net.parametrizations.weight.original1
    assert g.shape == (len(v),)
    g.data, v.data = rand(*g.shape, seed=1), rand(*v.shape, seed=2)
    rows = [g[i] * v[i] / v[i].square().sum().sqrt() for i in range(len(v))]
    plain.weight.data = torch.stack(rows)
    close(net(x), plain(x))


@pytest.mark.parametrize("make", [linear, conv])
def test_weight_norm_learns_as_torchs(make):
    ours, theirs = by_weight.weight(make()), parametrizations.weight_norm(make(), dim=0)
    x = rand(4, 5) if make is linear else rand(4, 3, 6, 5)
    for net in (ours, theirs):
        for _ in range(20):
            net.zero_grad()
            (net(x) - 1).square().mean().backward()
            for p in net.parameters():
                p.data -= p.grad
    assert (ours.weight - make().weight).abs().max() > 0.05
    close(ours.weight, theirs.weight)
    close(ours.bias, theirs.bias)


@pytest.mark.parametrize("make", [linear, conv])
def test_every_init_reaches_the_normalized_weight(make):
    """What a layer computes at the start is what `init` chose, whatever the parametrization."""
    plain, net = make(), by_weight.weight(make())
    for layer in (plain, net):
        fill.he_normal(layer, torch.Generator().manual_seed(5))
    close(net.weight, plain.weight)
    assert not net.bias.any()


def test_weight_norm_needs_a_direction():
    net = by_weight.weight(linear())
    with pytest.raises(UserError, match="norm=weight"):
        fill.zeros(net, torch.Generator())


def test_a_weight_normed_layer_is_found_and_copied():
    net = nn.Sequential(by_weight.weight(linear()), nn.ReLU(), by_weight.weight(linear(8, 3)))
    assert weight_layers(net) == [net[0], net[2]]
    assert [tuple(w.shape) for w in weights(net)] == [(8, 5), (3, 8)]  # v, not g and no bias
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for p in net.parameters():
            p += 1
    x = rand(4, 5)
    assert not torch.equal(twin(x), net(x))
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin(x), net(x))


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 1}, {"padding": 1, "stride": 2}])
def test_cosine_norm_of_convolutions_by_hand(options):
    net = by_weight.cosine(conv(**options), eps=1e-300)
    x = rand(2, 3, 7, 6)
    patches = F.unfold(x, 3, padding=options.get("padding", 0), stride=options.get("stride", 1))
    w = net.weight.flatten(1)
    wanted = F.cosine_similarity(patches[:, None], w[None, :, :, None], dim=2, eps=1e-300)
    close(net(x).flatten(2), wanted)


def test_cosine_norm_of_linear_and_local_layers_by_hand():
    net, x = by_weight.cosine(linear(), eps=1e-300), rand(7, 5)
    close(net(x), F.cosine_similarity(x[:, None], net.weight[None], dim=2, eps=1e-300))
    net, x = by_weight.cosine(local(), eps=1e-300), rand(2, 3, 6, 5)
    patches = F.unfold(x, 3, padding=1)
    rows = net.weight.view(30, 4, -1)
    wanted = F.cosine_similarity(patches.permute(0, 2, 1)[:, :, None], rows[None], dim=3, eps=1e-300)
    close(net(x).flatten(2), wanted.permute(0, 2, 1))


def test_cosine_norm_is_bounded_blind_to_scale_and_finite_at_zero():
    net = by_weight.cosine(conv(), eps=1e-8)
    x = rand(2, 3, 7, 6)
    assert net.bias is None and net(x).abs().max() <= 1
    close(net(1000 * x), net(x), 1e-7)
    x[0] = 0
    x.requires_grad_()
    y = net(x)
    y.square().sum().backward()
    assert not y[0].any() and x.grad.isfinite().all() and net.weight.grad.isfinite().all()


def test_cosine_norm_sees_the_input_after_dropout():
    """The length must be that of what the layer was given, or the result would not be a cosine."""
    net = nn.Sequential(nn.Linear(5, 5), by_weight.cosine(nn.Linear(400, 3), eps=1e-300)).double()
    context = Context(0, torch.device("cpu"))
    dropout = Dropout(p=0.5, input_p=0.0, conv_p=0.0)
    dropout.begin("dropout", context)
    dropout.setup(net)
    context.begin_epoch(0)
    seen = []
    net[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = rand(2, 400)
    y = net[1](x)
    assert (seen[0] == 0).double().mean() > 0.3
    close(y, F.cosine_similarity(seen[0][:, None], net[1].weight[None], dim=2, eps=1e-300))


# ---- in a run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["weight", "cosine", "batch"])
@pytest.mark.parametrize("model", ["mlp", "lenet", "local"])
def test_norm_with_regularizers_in_a_run(run, word, model):
    result = run(
        f"model={model}", f"norm={word}", "reg=[dropout,l2,maxnorm,weight_decay]", "init=he_normal", "epochs=1"
    )
    assert result.status == "done", result.message


@pytest.mark.parametrize("word", ["weight", "cosine"])
@pytest.mark.parametrize(
    "words", [("model=wrn", "model.depth=10"), ("model=resnet", "model.depth=8", "model.shortcut=B")]
)
def test_norms_of_weights_reach_every_convolution(word, words, settings):
    chosen = settings(*words, f"norm={word}")
    model = parts.make_model(chosen, parts.make_data(chosen, parts.load(chosen.data)), 0)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    reached = [m for m in layers if hasattr(m, "parametrizations") or getattr(m, "length_cancels", False)]
    assert len(layers) > 5 and reached == layers


@pytest.mark.parametrize("constraint", ["maxnorm", "norm_ball"])
def test_a_bound_on_lengths_that_cancel_is_remarked_on(constraint, run):
    words = (f"reg={constraint}", f"reg.{constraint}.c=0.1")
    remarks = run("norm=cosine", *words).remarks
    assert (
        f"{constraint} bounds the lengths of 1 layers of weights that norm=cosine divides by their lengths" in remarks
    )
    assert not any("norm=cosine" in remark for remark in run(*words).remarks)


def test_zero_weights_under_weight_norm_are_refused(settings):
    with pytest.raises(UserError, match="norm=weight"):
        Experiment.of(settings("norm=weight", "init=zeros")).run(Silent())


def test_weight_norm_starts_at_the_loss_of_no_norm(run):
    """`batch_size=full`: the first epoch's training loss is the loss before any update."""
    losses = [
        run(f"norm={word}", "init=he_normal", "batch_size=full").history[0]["train_loss"] for word in ("none", "weight")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        (("norm=instance",), True),
        (("norm=batch", "model=linear"), True),
        (("norm=instance", "model=lenet"), False),
        (("norm=weight",), False),
        (("norm=cosine",), False),
        (("norm=none", "model=linear"), False),
    ],
)
def test_a_norm_that_changes_nothing_is_remarked_on(words, idle, run):
    remarks = run(*words, "epochs=1").remarks
    assert any("changed nothing" in text and words[0] in text for text in remarks) == idle
