"""Noise, dropout, smoothing and stochastic depth: exact where a sum over all outcomes is possible, z-tests elsewhere."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toy import begun

from dlreg.model.blocks import Residual
from dlreg.model.resnet import ResNet
from dlreg.norm.layers import none as no_norm
from dlreg.reg import dropout as dropout_module
from dlreg.reg.additive import HiddenNoise, InputNoise, WeightNoise
from dlreg.reg.dropout import Dropout, GaussianDropout, MCDropout
from dlreg.reg.label_smoothing import LabelSmoothing
from dlreg.reg.noise import LEVELS, drop_mask
from dlreg.reg.stochastic_depth import StochasticDepth
from dlreg.run import parts


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def z(draws, mean):
    """How many standard errors the draws' mean is from `mean`."""
    draws = torch.as_tensor(draws, dtype=torch.float64)
    return abs((draws.mean() - mean) / (draws.std() / math.sqrt(draws.numel()))).item()


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9, 1e-3])
def test_mask_rate_and_scale(p):
    """Rates are exact to 2^-17 and the expectation is exactly 1; neighbours are independent, within and across words."""
    n = 2_000_003  # not a multiple of the four masks in a word
    mask = drop_mask(torch.empty(n), p, generator())
    q = round(p * LEVELS) / LEVELS
    assert abs(q - p) <= 0.5 / LEVELS
    dropped = (mask == 0).double()
    assert abs(dropped.mean() - q) < 5 * math.sqrt(q * (1 - q) / n)
    assert set(mask.unique().tolist()) == {0.0, torch.tensor(LEVELS / (LEVELS - round(p * LEVELS))).item()}
    for lag in (1, 2, 3, 4):
        together = (dropped[:-lag] * dropped[lag:]).mean()
        assert abs(together - q * q) < 5 * math.sqrt(2 * q * q / n) + 1e-9, lag
    assert abs(mask.double().mean() - 1) < 5 * math.sqrt(q / (1 - q) / n)


def test_mask_follows_its_generator():
    x = torch.empty(3, 5)
    assert torch.equal(drop_mask(x, 0.5, generator(1)), drop_mask(x, 0.5, generator(1)))
    assert not torch.equal(drop_mask(x, 0.5, generator(1)), drop_mask(x, 0.5, generator(2)))


def all_masks(monkeypatch, n, p):
    """Make dropout go through every mask of n units in turn."""
    masks = itertools.cycle(itertools.product((0.0, 1 / (1 - p)), repeat=n))

    def next_mask(x, rate, _):
        assert rate == p
        return torch.tensor(next(masks), dtype=x.dtype)

    monkeypatch.setattr(dropout_module, "drop_mask", next_mask)


def softmax_regression(n=10):
    torch.manual_seed(0)
    return nn.Linear(n, 3, dtype=torch.float64)


def test_geometric_mean_of_all_masks_is_weight_scaling(monkeypatch):
    """Softmax regression, 2^10 masks: the renormalized geometric mean is the prediction without dropout."""
    model, x = softmax_regression(), torch.randn(6, 10, dtype=torch.float64)
    scaled = model(x).softmax(1)
    all_masks(monkeypatch, 10, 0.5)
    part = begun(MCDropout(p=0.0, input_p=0.5, conv_p=0.0, k=1024, mean="geometric"), model=model)
    model.eval()
    assert torch.equal(model(x).softmax(1), scaled)  # weight scaling until the fit is over
    part.finish(model)
    assert (model(x).softmax(1) - scaled).abs().max() < 1e-12


def test_arithmetic_mean_of_all_masks(monkeypatch):
    model, x = softmax_regression(6), torch.randn(4, 6, dtype=torch.float64)
    wanted = sum(model(x * torch.tensor(m)).softmax(1) for m in itertools.product((0.0, 2.0), repeat=6)) / 64
    all_masks(monkeypatch, 6, 0.5)
    part = begun(MCDropout(p=0.0, input_p=0.5, conv_p=0.0, k=64, mean="arithmetic"), model=model)
    part.finish(model.eval())
    assert (model(x).exp() - wanted).abs().max() < 1e-12  # log probabilities


def test_mc_dropout_approaches_the_mean_over_all_masks():
    model, x = softmax_regression(6), torch.randn(4, 6, dtype=torch.float64)
    wanted = sum(model(x * torch.tensor(m)).softmax(1) for m in itertools.product((0.0, 2.0), repeat=6)) / 64
    spread = {}
    for k in (10, 4000):
        other = copy.deepcopy(model)
        part = begun(MCDropout(p=0.0, input_p=0.5, conv_p=0.0, k=k, mean="arithmetic"), model=other)
        part.finish(other.eval())
        found = other(x).exp()
        spread[k] = (found - wanted).abs().max().item()
    assert spread[4000] < 5 * 0.5 / math.sqrt(4000) < spread[10] * 5
    twin = copy.deepcopy(other)  # as the best-on-validation model is: it averages too
    assert (twin(x).exp() - wanted).abs().max() < 5 * 0.5 / math.sqrt(4000)
    assert not torch.equal(twin(x), F.log_softmax(model(x), 1))


def layers(*widths):
    torch.manual_seed(0)
    parts = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


def seen_by(model, x):
    """What enters each weight layer."""
    seen = []
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model(x)
    return seen


@pytest.mark.parametrize("kind", [Dropout, GaussianDropout])
@pytest.mark.parametrize(
    "words", [("model=resnet", "model.depth=8", "model.shortcut=B"), ("model=wrn", "model.depth=10")]
)
def test_conv_p_leaves_shortcuts_alone(kind, words, settings):
    chosen = settings(*words)
    model = parts.make_model(chosen, parts.make_data(chosen, parts.load(chosen.data)), 0)
    part = begun(kind(p=0.0, input_p=0.0, conv_p=0.5), model=model)
    hit = {name for name, m in model.named_modules() if m._forward_pre_hooks}
    convolutions = {name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    beside = {name for name in convolutions if ".shortcut" in name}
    assert beside and hit == convolutions - beside - {next(n for n in convolutions if "stem" in n)}
    assert part.places == len(hit)


@pytest.mark.parametrize("kind", [Dropout, GaussianDropout])
def test_dropout_acts_where_it_should(kind):
    conv = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 5))
    for p, input_p, conv_p, hit in ((0.5, 0, 0, [2]), (0, 0.3, 0, [0]), (0, 0, 0.4, [1]), (0.5, 0.3, 0.4, [0, 1, 2])):
        model, x = copy.deepcopy(conv), torch.ones(8, 1, 8, 8)
        plain = seen_by(copy.deepcopy(conv), x)
        part = begun(kind(p=p, input_p=input_p, conv_p=conv_p), model=model)
        noisy = seen_by(model.train(), x)
        changed = [i for i in range(3) if not torch.equal(noisy[i], plain[i])]
        assert changed[0] == hit[0] and set(hit) <= set(changed)
        assert part.places == len(hit) and part.remark() is None
        again = seen_by(model, x)
        assert not torch.equal(again[hit[0]], noisy[hit[0]])  # a fresh draw each step
        assert all(torch.equal(a, b) for a, b in zip(seen_by(model.eval(), x), plain, strict=False))


def test_gaussian_dropout_has_dropouts_moments():
    part = begun(GaussianDropout(p=0.2, input_p=0.0, conv_p=0.0), model=layers(4, 3))
    noise = part.mask(torch.empty(1000, 1000), 0.2).double()
    assert z(noise, 1.0) < 5
    assert z((noise - 1).square(), 0.25) < 5


def test_dropout_says_when_it_drops_nothing():
    assert "drops nothing" in begun(Dropout(p=0.5, input_p=0.0, conv_p=0.0), model=layers(4, 3)).remark()


def test_input_noise_is_l2_on_a_linear_model():
    """E[(w (x + noise) - y)^2] = (w x - y)^2 + sigma^2 ||w||^2; the wrong power of sigma is found out."""
    sigma, n = 0.3, 200_000
    torch.manual_seed(0)
    w, x0 = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    part = begun(InputNoise(sigma=sigma))
    x, y = part.batch(None, x0.repeat(n, 1), torch.zeros(n, 1))
    gain = (x @ w - 1.0).square() - (x0 @ w - 1.0).square()
    assert z(gain, sigma**2 * w.square().sum()) < 5
    assert z(gain, sigma * w.square().sum()) > 50
    assert torch.equal(y, torch.zeros(n, 1))


def test_weight_noise_penalizes_the_sensitivity():
    """E[(f_w+noise - y)^2] / 2 - (f_w - y)^2 / 2 = (sigma^2 / 2) ||df/dw||^2, exact for a linear f; no factor m."""
    sigma, n = 0.2, 20_000
    layer, x = nn.Linear(6, 1, dtype=torch.float64), torch.randn(1, 6, dtype=torch.float64)
    clean = layer(x).item()
    begun(WeightNoise(sigma=sigma), model=layer)
    layer.train()
    with torch.no_grad():
        losses = torch.cat([(layer(x) - 1.0).square().view(1) / 2 for _ in range(n)])
    gain = losses - (clean - 1.0) ** 2 / 2
    assert z(gain, sigma**2 / 2 * x.square().sum()) < 5
    assert z(gain, 6 * sigma**2 / 2 * x.square().sum()) > 50
    assert layer.eval()(x).item() == clean


def test_weight_noise_takes_the_gradient_there_and_updates_the_clean_weight():
    layer = nn.Linear(3, 2, bias=False, dtype=torch.float64)
    clean = layer.weight.detach().clone()
    part = begun(WeightNoise(sigma=0.5), model=layer)
    parameter = layer.parametrizations.weight.original
    assert list(layer.parameters()) == [parameter]
    layer.train()
    part.context.begin_epoch(0)
    x = torch.randn(4, 3, dtype=torch.float64)
    layer(x).square().sum().backward()
    part.context.begin_epoch(0)  # the same draw again
    noisy = clean + torch.empty_like(clean).normal_(0.0, 0.5, generator=part.generator)
    assert (parameter.grad - 2 * (x @ noisy.T).T @ x).abs().max() < 1e-12
    torch.optim.SGD([parameter], lr=0.1).step()
    assert (parameter - (clean - 0.1 * parameter.grad)).abs().max() < 1e-15


def test_hidden_noise_leaves_the_input_alone():
    model, x = layers(4, 50, 50, 3), torch.randn(2000, 4)
    plain = seen_by(copy.deepcopy(model), x)
    begun(HiddenNoise(sigma=0.3), model=model)
    model.train()
    first, second, _ = seen_by(model, x)
    assert torch.equal(first, x)
    noise = (second - plain[1]).double()
    assert z(noise, 0.0) < 5 and z(noise.square(), 0.09) < 5
    assert "no hidden layer" in begun(HiddenNoise(sigma=0.3), model=layers(4, 3)).remark()


def test_label_smoothing_lecture_form():
    y = torch.eye(3, dtype=torch.float64)[[1]]
    part = LabelSmoothing(eps=0.01, form="lecture")
    assert (part.batch(None, None, y)[1] - torch.tensor([0.005, 0.990, 0.005], dtype=torch.float64)).abs().max() < 1e-15


def test_label_smoothing_is_torchs_and_a_kl():
    """The torch form is torch's; a lecture eps of e (K - 1) / K gives the same targets; the loss is CE plus a KL to uniform."""
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 10, dtype=torch.float64), torch.randint(10, (20,))
    y = torch.eye(10, dtype=torch.float64)[labels]
    smooth = LabelSmoothing(eps=0.1, form="torch").batch(None, None, y)[1]
    assert abs(F.cross_entropy(logits, smooth) - F.cross_entropy(logits, labels, label_smoothing=0.1)) < 1e-14
    lecture = LabelSmoothing(eps=0.1 * 9 / 10, form="lecture").batch(None, None, y)[1]
    assert (smooth - lecture).abs().max() < 1e-15
    log_p = logits.log_softmax(1)
    kl = (math.log(0.1) - log_p).mean(1)  # KL(u || p)
    by_hand = 0.9 * F.nll_loss(log_p, labels) + 0.1 * (kl.mean() + math.log(10))
    assert abs(F.cross_entropy(logits, smooth) - by_hand) < 1e-14


def resnet(depth=14):
    torch.manual_seed(0)
    return ResNet((1, 8, 8), 10, no_norm, depth=depth, width=2, shortcut="A", activation="relu")


@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("decay", ["linear", "uniform"])
def test_stochastic_depth_survival_rates(per, decay):
    """p_l = 1 - (l / L)(1 - p_L): each block's rate, by counting which branches ran or were added."""
    model = resnet()
    begun(StochasticDepth(survival=0.4, decay=decay, per=per), model=model)
    blocks = [m for m in model.modules() if isinstance(m, Residual)]
    assert len(blocks) == 6
    n = 4000
    for i, block in enumerate(blocks, 1):
        wanted = 0.4 if decay == "uniform" else 1 - i / 6 * 0.6
        block.train()
        one = nn.Identity()
        if per == "batch":
            kept = [float(torch.is_tensor(block.drop_path(one, torch.ones(2, 1)))) for _ in range(n)]
        else:
            kept = block.drop_path(one, torch.ones(n, 3, 1, 1))
            assert torch.equal(kept[:, 0], kept[:, 2])  # a sample's branch is kept or dropped whole
            kept = kept[:, 0].flatten()
        assert abs(torch.as_tensor(kept).double().mean() - wanted) <= 5 * math.sqrt(wanted * (1 - wanted) / n), i
        block.eval()
        x = torch.randn(4, 3)
        assert torch.equal(block.drop_path(one, x), x * wanted)  # the expectation of training


@pytest.mark.parametrize("optimizer", ["momentum", "nesterov", "adam", "sam"])
def test_stochastic_depth_trains_with_every_kind_of_state(optimizer, run):
    """A branch dropped in the first steps has no gradient there; optimizers with state must not stumble over it."""
    words = ["model=resnet", "model.depth=14", "model.width=2", "batch_size=16", f"optimizer={optimizer}"]
    result = run(
        *words,
        "reg=stochastic_depth",
        "reg.stochastic_depth.survival=0.2",
        *([] if optimizer == "sam" else ["optimizer.lr=0.01"]),
    )
    assert result.status == "done", result.message


def test_stochastic_depth_skips_the_work_of_a_dropped_branch():
    model = resnet(8)
    begun(StochasticDepth(survival=0.5, decay="uniform", per="batch"), model=model)
    blocks = [m for m in model.modules() if isinstance(m, Residual)]
    ran = [0] * len(blocks)
    for i, block in enumerate(blocks):
        block.branch.register_forward_hook(lambda *_, i=i: ran.__setitem__(i, ran[i] + 1))
    model.train()
    for _ in range(200):
        model(torch.zeros(1, 1, 8, 8))
    assert all(60 < count < 140 for count in ran)  # 5.6 standard deviations
    assert (
        "no residual block"
        in begun(StochasticDepth(survival=0.5, decay="linear", per="batch"), model=layers(4, 3)).remark()
    )
