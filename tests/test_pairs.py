"""The whole catalogue of reg and aug at once: neutral strengths, streams of one's own, and every option with every other."""

import itertools
import math

import pytest
import torch

from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.context import Context, Progress
from dlreg.data.base import Dataset, Split
from dlreg.data.normalize import to_unit
from dlreg.reg.base import Chain, Regularizer
from dlreg.run import parts
from dlreg.run.evaluate import evaluate
from dlreg.run.loop import train_step

CATALOGUE = [(g, word) for g in ("aug", "reg") for word in options(g) if word != "none"]
SMALL = [
    *("model=resnet", "model.depth=8", "model.width=2", "device=cpu"),
    *("data.normalize=unit", "optimizer.lr=0.01", "data.labelled=12"),
]

# The strength at which an option leaves every bit as it was: zero, or a bound that nothing reaches.
NEUTRAL = {
    "activation_l1": "alpha=0",
    "clip_norm": "c=1e9",
    "clip_value": "c=1e9",
    "dropout": "p=0 input_p=0 conv_p=0",
    "early_stopping": "patience=1000 monitor=val_loss",  # compared before `finish`, which brings the best weights back
    "elastic_net": "alpha=0",
    "ema": "decay=0",
    "ensemble": "k=1",
    "entropy": "alpha=0",
    "fgsm": "eps=0",
    "gaussian_dropout": "p=0 input_p=0 conv_p=0",
    "hidden_noise": "sigma=0",
    "input_noise": "sigma=0",
    "kl_sparsity": "alpha=0",
    "l0": "alpha=0",
    "l1": "alpha=0",
    "l1_late": "alpha=0",
    "l2": "alpha=0",
    "l2_to": "alpha=0",
    "label_smoothing": "eps=0",
    "lagrangian": "c=1e9",
    "lq": "alpha=0",
    "manifold_tangent": "alpha=0",
    "maxnorm": "c=1e9",
    "mc_dropout": "p=0 input_p=0 conv_p=0",
    "multitask": "weights=[0.0]",
    "norm_ball": "c=1e9",
    "pgd": "eps=0",
    "pseudo_label": "alpha=0",
    "stochastic_depth": "survival=1",
    "swa": "start=1",
    "tangent_prop": "alpha=0",
    "tie": "alpha=0",
    "trades": "beta=0",
    "vat": "alpha=0",
    "weight_decay": "alpha=0",
    "weight_noise": "sigma=0",
}
STRONG = {
    "pseudo_label": "start=0 full=0",
    "clip_norm": "c=0.01",
    "clip_value": "c=0.001",
    "l0": "start=0.5",
    "l1_late": "after=0 alpha=0.1",
    "l2_to": "alpha=1",
    "lagrangian": "c=0.1 rate=1",
    "maxnorm": "c=0.1",
    "norm_ball": "c=0.1",
}
FAST = {"manifold_tangent": ["epochs=1", "hidden=10"]}  # which trains a network of its own first
WITHOUT = ("bagging",)  # a bootstrap is never the sample itself
NEUTRAL_HERE = [word for word in NEUTRAL if word in options("reg")]


def nodes(group, word, *overrides):
    """The checked node of one option."""
    return getattr(compose([f"{group}={word}", *(f"{group}.{word}.{o}" for o in overrides)]), group)


@pytest.fixture(scope="module")
def base():
    """Settings of a small residual network and a handful of random images with structure enough for every option."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (24, 3, 8, 8), dtype=torch.uint8, generator=generator)
    y = torch.arange(24) % 10
    settings = compose(["outputs=nowhere", *SMALL])
    return settings, parts.make_data(settings, Dataset(Split(x, y), Split(x, y), 10))


@pytest.fixture(scope="module")
def catalogue():
    return {(g, word): nodes(g, word, *FAST.get(word, [])) for g, word in CATALOGUE}


def chosen(settings, *picked):
    """The settings with these options, in this order."""
    stacks = {"reg": {}, "aug": {}}
    for group, node in picked:
        stacks[group] |= node
    return settings.model_copy(update=stacks)


def two_steps(settings, data, probe=None):
    """Build the parts, take two updates, end the epoch. Returns (model, chain, losses)."""
    made = parts.make_parts(settings, data, settings.seed)
    context, model = made.context, made.model
    if probe:
        made.reg = Chain({**made.reg.parts, "probe": probe})
        probe.begin("probe", context)
    context.begin_epoch(0)
    model.train()
    losses = []
    for step in range(2):
        context.progress, context.lr = Progress(step, 2, 2), settings.optimizer["lr"]
        sample = data.train[torch.arange(4) + 4 * step]
        losses.append(train_step(made, to_unit(sample.x), torch.eye(10)[sample.y])[0].item())
    made.reg.end_epoch(model, [{"epoch": 1, "val_loss": 1.0, "val_error": 0.5}])
    return model, made.reg, losses


def tensors(model):
    return list(model.state_dict().values())


def test_every_option_states_its_neutral_strength():
    assert set(options("reg")) - {"none"} <= {*NEUTRAL, *WITHOUT}


@pytest.mark.parametrize("word", NEUTRAL_HERE)
def test_strength_zero_is_bit_identical_to_leaving_it_out(word, base):
    settings, data = base
    plain, _, losses = two_steps(settings, data)
    node = nodes("reg", word, *NEUTRAL[word].split())
    model, chain, found = two_steps(chosen(settings, ("reg", node)), data)
    assert found == losses
    assert all(torch.equal(a, b) for a, b in zip(tensors(model), tensors(plain), strict=True))
    if word != "early_stopping":
        chain.finish(model)
        assert all(torch.equal(a, b) for a, b in zip(tensors(model), tensors(plain), strict=True))
    evaluated = [evaluate(m, data.val) for m in (model, plain)]
    assert evaluated[0] == evaluated[1]


@pytest.mark.parametrize("word", sorted(set(NEUTRAL_HERE) - {"early_stopping", "ensemble", "swa"}))
def test_at_its_own_strength_it_does_something(word, base, run):
    """The mirror of the test above: what is compared there can differ. bounds are set so that they act."""
    settings, data = base
    plain, _, _ = two_steps(settings, data)
    model, chain, _ = two_steps(chosen(settings, ("reg", nodes("reg", word, *STRONG.get(word, "").split()))), data)
    chain.finish(model)
    before = {k.removeprefix("net."): v for k, v in plain.state_dict().items() if v.is_floating_point()}
    after = {k.replace(".parametrizations.", ".").replace(".original", ""): v for k, v in model.state_dict().items()}
    assert any(not torch.equal(v, after["net." + k] if "net." + k in after else after[k]) for k, v in before.items())


class Probe(Regularizer):
    """Draws from its own stream at every step, and notes it."""

    def __init__(self):
        self.drawn = []

    def batch(self, model, x, y):
        self.drawn.append(torch.rand(3, generator=self.generator))
        return x, y


@pytest.mark.parametrize(("group", "word"), CATALOGUE)
def test_other_streams_stay_as_they_were(group, word, base, catalogue):
    """With the option on: the same draws for others, the same initial weights, torch's global generator untouched."""
    settings, data = base
    alone, beside = Probe(), Probe()
    two_steps(settings, data, alone)
    torch.manual_seed(0)
    start = parts.make_parts(settings, data, settings.seed).model
    two_steps(chosen(settings, (group, catalogue[group, word])), data, beside)
    assert all(torch.equal(a, b) for a, b in zip(alone.drawn, beside.drawn, strict=True))
    made = parts.make_parts(chosen(settings, (group, catalogue[group, word])), data, settings.seed)
    first = next(p for n, p in made.model.named_parameters() if n.startswith("net.stem") and p.dim() > 1)
    assert torch.equal(first, next(p for n, p in start.named_parameters() if n.startswith("net.stem") and p.dim() > 1))
    made.context.begin_epoch(0)
    expected = torch.rand(3)
    two_steps(chosen(settings, (group, catalogue[group, word])), data)
    assert torch.equal(torch.rand(3), expected)


REGS, AUGS = [w for g, w in CATALOGUE if g == "reg"], [w for g, w in CATALOGUE if g == "aug"]


@pytest.mark.parametrize("word", REGS)
def test_a_regularizer_composes_with_every_other(word, base, catalogue):
    """Two updates with both, in either order, since they may rename and replace what they find: finite losses, a model that
    evaluates, remarks that can be made. With augmentations, which change nothing but the batch, eight at a time.
    """
    settings, data = base
    several = [AUGS[i : i + 8] for i in range(0, len(AUGS), 8)]
    for others in [*([("reg", other)] for other in REGS if other != word), *([("aug", w) for w in s] for s in several)]:
        both = chosen(settings, ("reg", catalogue["reg", word]), *((o[0], catalogue[o]) for o in others))
        model, chain, losses = two_steps(both, data)
        assert all(map(math.isfinite, losses)), others
        chain.remarks()
        model = chain.finish(model)
        assert math.isfinite(evaluate(model, data.train[torch.arange(4)])["loss"]), others


@pytest.mark.parametrize("word", AUGS)
def test_an_augmentation_composes_with_every_other(word, base, catalogue):
    """Of two batches: images as many and as large, finite; targets that are probabilities."""
    settings, data = base
    for other in AUGS[AUGS.index(word) + 1 :]:
        chain = parts.make_chain(chosen(settings, ("aug", catalogue["aug", word]), ("aug", catalogue["aug", other])))
        context = Context(settings.seed, torch.device("cpu"), data.pixel_mean, data.upright, data.train.x)
        chain.begin("chain", context)
        context.begin_epoch(0)
        for step in range(2):
            context.progress = Progress(step, 2, 2)
            sample = data.train[torch.arange(4) + 4 * step]
            x, y = chain.batch(torch.nn.Identity(), to_unit(sample.x), torch.eye(10)[sample.y])
            assert x.shape == (4, 3, 8, 8) and x.isfinite().all(), other
            torch.testing.assert_close(y.sum(1), torch.ones(4))
        chain.remarks()


AROUND = [
    word
    for g, word in CATALOGUE
    if g == "reg" and word in ("bagging", "early_stopping", "ensemble", "swa", "mc_dropout")
]


@pytest.mark.parametrize("pair", list(itertools.permutations(AROUND, 2)))
def test_what_acts_around_the_fit_composes(pair, run):
    smaller = [f"reg.{word}.k=2" for word in pair if word in ("bagging", "ensemble", "mc_dropout")]
    result = run(f"reg=[{','.join(pair)}]", *smaller, "epochs=2", "data.train_size=64", "norm=batch")
    assert result.status == "done", result.message
