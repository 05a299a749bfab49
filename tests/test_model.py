"""Networks: published parameter counts, independent forward passes, and every model with every norm and activation."""

import functools
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.errors import UserError
from dlreg.model.blocks import WEIGHT_LAYERS, Activation, Residual, activation, weight_layers
from dlreg.model.lenet import LocalConv2d
from dlreg.model.mlp import Max
from dlreg.model.resnet import PadShortcut
from dlreg.optimizer.kernels import lean

SMALL = {"resnet": {"depth": 8, "width": 4}, "wrn": {"depth": 10, "widen": 1}, "mlp": {"hidden": [12, 8]},
         "maxout": {"hidden": [12], "pieces": 3}, "lenet": {"hidden": [12]}, "local": {"hidden": [12]},
         "polynomial": {"degree": 1}, "rbf": {"centres": 1}}  # fmt: skip

UNTRAINED = ("knn", "tangent_distance")  # which `test_memory.py` tests
TRAINED = [name for name in options("model") if name not in UNTRAINED]
FLAT = ("linear", "mlp", "maxout", "polynomial", "random_features", "rbf")  # which take samples of any shape


@functools.cache
def nodes(model, norm):
    settings = compose([f"model={model}", f"norm={norm}"])
    return settings.model, settings.norm


def make(model, shape=(3, 32, 32), classes=10, norm="batch", **changes):
    """The network of `model=model norm=norm` with these hyperparameters changed; `scale` is batch norm's."""
    node, norm_node = nodes(model, norm)
    if "scale" in changes:
        norm_node = {**norm_node, "scale": changes.pop("scale")}
    torch.manual_seed(0)
    return build("model", {**node, **changes})(shape, classes, build("norm", norm_node))


def count(model):
    return sum(p.numel() for p in model.parameters())


ZHANG = (3, 28, 28)
COUNTS = [  # Zhang et al. (2017), table 1; He et al. (2016), table 6; Zagoruyko & Komodakis (2016), table 4; LeNet-5
    (1_649_402, "small_inception", {"shape": ZHANG, "scale": False}),
    (1_649_402, "small_inception", {"shape": ZHANG, "norm": "none"}),
    (1_387_786, "small_alexnet", {"shape": ZHANG, "norm": "none"}),
    (1_735_178, "mlp", {"shape": ZHANG, "norm": "none", "hidden": [512, 512, 512]}),
    (1_209_866, "mlp", {"shape": ZHANG, "norm": "none", "hidden": [512]}),
    (61_706, "lenet", {"shape": (1, 28, 28), "norm": "none"}),
    (7_850, "linear", {"shape": (1, 28, 28), "norm": "none"}),
    (36_479_194, "wrn", {"depth": 28, "widen": 10}),
]


@pytest.mark.parametrize(("published", "model", "changes"), COUNTS)
def test_published_parameter_count(published, model, changes):
    assert count(make(model, **changes)) == published


@pytest.mark.parametrize(
    ("depth", "millions", "exact"),
    [
        (20, 0.27, 269_722),
        (32, 0.46, 464_154),
        (44, 0.66, 658_586),
        (56, 0.85, 853_018),
        (110, 1.7, 1_727_962),
    ],
)
def test_resnet_counts_as_in_the_paper(depth, millions, exact):
    """3x3 convolutions and two numbers of batch norm a channel; option B adds two 1x1 projections with batch norm."""
    n = (depth - 2) // 6
    widths = [(3, 16), *[(16, 16)] * (2 * n), (16, 32), *[(32, 32)] * (2 * n - 1), (32, 64), *[(64, 64)] * (2 * n - 1)]
    formula = sum(9 * i * o + 2 * o for i, o in widths) + 64 * 10 + 10
    assert formula == exact and exact / 1e6 == pytest.approx(millions, rel=0.02)
    assert count(make("resnet", depth=depth, shortcut="A")) == formula
    assert count(make("resnet", depth=depth, shortcut="B")) == formula + (16 * 32 + 64) + (32 * 64 + 128)
    assert sum(isinstance(m, Residual) for m in make("resnet", depth=depth).modules()) == 3 * n


@pytest.mark.parametrize(("depth", "widen", "millions"), [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (16, 8, 11.0)])
def test_wrn_counts_as_in_the_paper(depth, widen, millions):
    net = make("wrn", depth=depth, widen=widen)
    assert round(count(net) / 1e6, 1) == millions
    assert sum(isinstance(m, Residual) for m in net.modules()) == (depth - 4) // 2


# ---- forward passes --------------------------------------------------------------------------------------------------


def test_resnet_block_equals_torchvisions():
    """Stage 2's first block, option B, with the same weights."""
    ours = make("resnet", depth=8, width=4, shortcut="B").blocks[1]
    projection = nn.Sequential(nn.Conv2d(4, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
    theirs = BasicBlock(4, 8, 2, projection)
    pairs = {"conv1": ours.branch[0][0], "bn1": ours.branch[0][1], "conv2": ours.branch[2][0], "bn2": ours.branch[2][1],
             "downsample.0": ours.shortcut[0], "downsample.1": ours.shortcut[1]}  # fmt: skip
    for name, module in pairs.items():
        theirs.get_submodule(name).load_state_dict(module.state_dict())
    x = torch.randn(5, 4, 8, 8, dtype=torch.float64)
    for train in (True, False):
        out = ours.double().train(train)(x), theirs.double().train(train)(x)
        assert torch.equal(*out)


@pytest.mark.parametrize("model", ["resnet", "wrn", "small_inception"])
def test_memory_layout_is_channels_last_inside_and_changes_no_value(model):
    net = make(model, **SMALL.get(model, {})).double()
    seen = []
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, inputs, y: seen.append(y))
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    y = net(x)
    y.square().sum().backward()
    assert seen and all(h.is_contiguous(memory_format=torch.channels_last) for h in seen)
    assert all(p.is_contiguous() and p.grad.is_contiguous() for p in net.parameters())
    plain = [*net.children()]
    seen.clear()
    h = x
    for part in plain[:-1]:
        h = part(h)
    assert not any(h.is_contiguous(memory_format=torch.channels_last) for h in seen)
    assert torch.allclose(plain[-1](h.mean((2, 3))), y, atol=1e-10)


@pytest.mark.parametrize("model", ["lenet", "resnet", "wrn", "small_inception"])
def test_grey_images_lie_so_too(model):
    net = make(model, shape=(1, 28, 28), **SMALL.get(model, {}))
    seen = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, y: seen.append(y))
    net(torch.randn(4, 1, 28, 28))
    assert seen and all(h.is_contiguous(memory_format=torch.channels_last) for h in seen)


def test_shortcut_a_subsamples_and_pads_with_zeros():
    x = torch.randn(2, 4, 5, 5)
    y = PadShortcut(2, 4)(x)
    assert y.shape == (2, 8, 3, 3)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2]) and not y[:, :2].any() and not y[:, 6:].any()


def test_wide_blocks_are_preactivated():
    net = make("wrn", depth=16, widen=1).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)

    def bn_relu(bn, x):
        return F.relu(F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=1e-5))

    first, second, projecting = net.blocks[0], net.blocks[1], net.blocks[2]
    for same in (first, second):
        bn1, conv1, bn2, conv2 = [m for m in same.branch.modules() if isinstance(m, nn.BatchNorm2d | nn.Conv2d)]
        inner = bn_relu(bn2, F.conv2d(bn_relu(bn1, x), conv1.weight, padding=1))
        assert torch.allclose(same(x), x + F.conv2d(inner, conv2.weight, padding=1), atol=1e-12)
    bn1, conv1, bn2, conv2, shortcut = [m for m in projecting.modules() if isinstance(m, nn.BatchNorm2d | nn.Conv2d)]
    before = bn_relu(bn1, x)
    inner = bn_relu(bn2, F.conv2d(before, conv1.weight, stride=2, padding=1))
    wanted = F.conv2d(before, shortcut.weight, stride=2) + F.conv2d(inner, conv2.weight, padding=1)
    assert torch.allclose(projecting(x), wanted, atol=1e-12)


def test_local_layer_with_equal_weights_everywhere_is_a_convolution():
    conv = nn.Conv2d(3, 4, 5, padding=2).double()
    local = LocalConv2d(3, 4, 5, 2, [6, 7]).double()
    with torch.no_grad():
        local.weight.copy_(conv.weight.repeat(42, 1, 1, 1))
        local.bias.copy_(conv.bias.repeat(42))
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    assert torch.allclose(local(x), conv(x), atol=1e-12)


def test_local_layer_position_by_position():
    local = LocalConv2d(2, 3, 3, 1, [4, 5]).double()
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    padded, y = F.pad(x, (1, 1, 1, 1)), local(x)
    for i in range(4):
        for j in range(5):
            rows = local.weight.view(4, 5, 3, 2, 3, 3)[i, j]
            wanted = torch.einsum("nchw,ochw->no", padded[:, :, i : i + 3, j : j + 3], rows)
            assert torch.allclose(y[:, :, i, j], wanted + local.bias.view(4, 5, 3)[i, j], atol=1e-12)


def test_local_is_lenet_unshared():
    """The same units and connections; only the sharing differs: positions times the parameters of a convolution."""
    shared, unshared = (make(m, (1, 28, 28), norm="none") for m in ("lenet", "local"))
    assert count(unshared) - count(shared) == (28 * 28 - 1) * 6 * 26 + (10 * 10 - 1) * 16 * 151
    x = torch.randn(2, 1, 28, 28)
    shapes = [[m(x).shape for m in (net.layers[:3], net.layers[:7])] for net in (shared, unshared)]
    assert shapes[0] == shapes[1]


def test_maxout_takes_the_largest_piece():
    net = make("maxout", (1, 2, 3), 4, "none", hidden=[5], pieces=3).double()
    first, head = weight_layers(net)
    x = torch.randn(7, 1, 2, 3, dtype=torch.float64)
    pieces = [x.flatten(1) @ first.weight[k::3].T + first.bias[k::3] for k in range(3)]
    wanted = torch.maximum(torch.maximum(*pieces[:2]), pieces[2]) @ head.weight.T + head.bias
    assert torch.allclose(net(x), wanted, atol=1e-12)
    assert torch.equal(Max()(torch.tensor([[1.0, 3.0, 2.0]])), torch.tensor([3.0]))


def test_inception_ends_in_7_by_7_and_concatenates():
    net = make("small_inception", ZHANG)
    features = net.layers(torch.randn(2, *ZHANG))
    assert features.shape == (2, 336, 7, 7)
    x = torch.randn(2, 96, 4, 4)
    both = net.layers[1].eval()(x)
    assert torch.equal(both[:, :32], net.layers[1].first(x)) and torch.equal(both[:, 32:], net.layers[1].second(x))


def test_alexnets_response_normalization_is_tensorflows():
    """x / (1 + 0.001 / 9 * the sum of squares over channels i-4 ... i+4) ** 0.75."""
    layer = next(m for m in make("small_alexnet", ZHANG, norm="none").modules() if isinstance(m, nn.LocalResponseNorm))
    x = 30 * torch.randn(2, 12, 3, 3, dtype=torch.float64)
    for i in range(12):
        total = x[:, max(0, i - 4) : i + 5].square().sum(1)
        assert torch.allclose(layer(x)[:, i], x[:, i] / (1 + 0.001 / 9 * total) ** 0.75, atol=1e-12)


def test_activations():
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)
    formulas = {
        "relu": x.clamp(min=0),
        "leaky_relu": torch.where(x > 0, x, 0.01 * x),
        "prelu": torch.where(x > 0, x, 0.25 * x),
        "tanh": (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
        "sigmoid": 1 / (1 + (-x).exp()),
        "gelu": x * (1 + torch.erf(x / 2**0.5)) / 2,
    }
    assert set(formulas) == set(get_args(Activation))
    for name, wanted in formulas.items():
        assert torch.allclose(activation(name).double()(x), wanted, atol=1e-14), name


# ---- combinations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", options("norm"))
@pytest.mark.parametrize("model", TRAINED)
def test_every_norm_and_activation_trains_one_step(model, norm):
    """The loss is finite and every parameter that is learnt gets a gradient that is not zero everywhere."""
    node = nodes(model, norm)[0]
    names = get_args(Activation) if "activation" in node else [None]
    x, y = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(6)
    for name in names:
        net = make(model, (1, 8, 8), norm=norm, **SMALL.get(model, {}), **({"activation": name} if name else {}))
        optimizer = lean(torch.optim.SGD(net.parameters(), lr=0.01))
        F.cross_entropy(net(x), y).backward()
        idle = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
        assert not idle, name
        optimizer.step()
        assert F.cross_entropy(net(x), y).isfinite(), name
        assert net.eval()(x).isfinite().all(), name


@pytest.mark.parametrize("model", TRAINED)
def test_weight_layers_come_in_order_input_first_and_logits_last(model):
    """Dropout counts on it: the first weight layer is the one that sees the image."""
    net = make(model, (1, 8, 8), 7, "none", **SMALL.get(model, {}))
    seen = []
    for layer in weight_layers(net):
        layer.register_forward_hook(lambda module, _in, _out: seen.append(module))
    net(torch.rand(2, 1, 8, 8))
    found = weight_layers(net)
    assert seen[0] is found[0] and seen[-1] is found[-1] and found[-1].out_features == 7
    assert set(map(id, seen)) == set(map(id, found))
    assert all(isinstance(m, WEIGHT_LAYERS) for m in found)


@pytest.mark.parametrize("model", [m for m in options("model") if m not in (*FLAT, "knn")])
def test_data_without_positions_is_refused(model):
    with pytest.raises(UserError, match=f"model={model} needs images"):
        make(model, (20,))


@pytest.mark.parametrize("model", ["lenet", "local"])
def test_images_that_are_too_small_are_refused(model):
    with pytest.raises(UserError, match="at least 4 x 4"):
        make(model, (1, 3, 9))


@pytest.mark.parametrize("side", [4, 7, 11, 12, 13, 31, 32, 33])
@pytest.mark.parametrize("model", TRAINED)
def test_any_side_works(model, side):
    net = make(model, (1, side, side + 1), 3, "none", **SMALL.get(model, {}))
    assert net(torch.rand(2, 1, side, side + 1)).shape == (2, 3)


@pytest.mark.parametrize(
    ("model", "depth", "nearest"), [("resnet", 18, 20), ("resnet", 2, 8), ("wrn", 18, 16), ("wrn", 4, 10)]
)
def test_impossible_depths_are_refused_with_the_nearest(model, depth, nearest):
    with pytest.raises(UserError, match=f"the nearest is {nearest}"):
        make(model, depth=depth)
