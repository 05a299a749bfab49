"""Input normalization against plain numpy: moments after the layer, statistics from the training samples alone."""

import numpy as np
import pytest
import torch

from dlreg.data import normalize
from dlreg.data.base import Dataset, Split, prepare
from dlreg.data.normalize import Affine, channel_mean, normalization, to_unit

COMMON = {
    "root": "",
    "download": False,
    "folds": None,
    "fold": 0,
    "train_size": None,
    "labelled": None,
    "imbalance": 1.0,
    "label_noise": 0.0,
    "corruption": "none",
}


def images(n=200, channels=3, side=6, seed=0):
    """uint8 images whose pixels differ in mean and spread and hang together."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, channels, side, side)).cumsum(2).cumsum(3)
    levels = np.linspace(80, 170, channels * side * side).reshape(channels, side, side)
    return torch.from_numpy(np.clip(levels + 9 * base, 0, 255).astype(np.uint8))


@pytest.fixture(params=[2048, 7], ids=["one_chunk", "chunks_of_7"])
def chunk(request, monkeypatch):
    monkeypatch.setattr(normalize, "CHUNK", request.param)


def oracle(kind, x):
    """float64 numpy, straight from the definition."""
    raw = x.numpy().astype(np.float64)
    unit = raw / 255
    mean, sd = unit.mean((0, 2, 3), keepdims=True), unit.std((0, 2, 3), keepdims=True)
    return {
        "none": raw,
        "unit": unit,
        "standardize": (unit - mean) / sd,
        "per_pixel": (unit - unit.mean(0)) / sd,
        "per_image": (unit - unit.mean((1, 2, 3), keepdims=True))
        / np.maximum(unit.std((1, 2, 3), keepdims=True), unit[0].size ** -0.5),
    }[kind]


@pytest.mark.parametrize("kind", ["none", "unit", "standardize", "per_pixel", "per_image"])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_definition(kind, channels, chunk):
    x = images(channels=channels)
    y = normalization(kind, x)(to_unit(x)).numpy()
    assert np.abs(y - oracle(kind, x)).max() < (1e-4 if kind == "none" else 2e-6)


def test_standardized_data_have_mean_0_and_sd_1_per_channel(chunk):
    y = normalization("standardize", images())(to_unit(images())).double()
    assert y.mean((0, 2, 3)).abs().max() < 1e-6
    assert (y.var((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-5


def test_per_pixel_removes_the_mean_image(chunk):
    y = normalization("per_pixel", images())(to_unit(images())).double()
    assert y.mean(0).abs().max() < 1e-6
    assert y[:, 0].std(0).max() / y[:, 0].std(0).min() > 1.5  # pixels keep their spread: one sd per channel


def test_a_flat_image_stays_flat():
    """The floor of the sd, 1 / sqrt(n), keeps noise of an almost constant image small."""
    x = torch.full((1, 3, 4, 4), 0.5)
    x[0, 0, 0, 0] += 1e-3
    y = normalization("per_image", x)(x)
    assert float(y[0, 0, 0, 0]) == pytest.approx(1e-3 * (1 - 1 / 48) * 48**0.5, rel=1e-3)


def test_whitening_is_zca_of_the_training_covariance(chunk):
    """(x - mean) (C + eps I)^(-1/2): symmetric, and the covariance becomes C (C + eps)^-1."""
    x = images()
    flat = x.numpy().reshape(len(x), -1).astype(np.float64) / 255
    covariance = np.cov(flat.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag((values + 1e-2) ** -0.5) @ vectors.T
    layer = normalization("whiten", x)
    assert np.abs(layer.matrix.numpy() - root).max() < 1e-5
    y = layer(to_unit(x)).numpy().reshape(len(x), -1).astype(np.float64)
    assert np.abs(y - (flat - flat.mean(0)) @ root).max() < 1e-4
    assert (
        np.abs(np.cov(y.T, bias=True) - covariance @ np.linalg.inv(covariance + 1e-2 * np.eye(len(values)))).max()
        < 1e-4
    )


def test_whitening_keeps_the_shape_and_works_with_fewer_samples_than_pixels():
    x = images(n=5)
    y = normalization("whiten", x)(to_unit(x))
    assert y.shape == x.shape and y.isfinite().all() and abs(float(y.mean())) < 1e-5


@pytest.mark.parametrize("kind", ["standardize", "per_pixel", "whiten"])
def test_a_constant_channel_does_no_harm(kind):
    x = images()
    x[:, 1] = 77
    y = normalization(kind, x)(to_unit(x))
    assert y.isfinite().all() and y[:, 1].abs().max() < 1e-4


def test_features_are_standardized_one_by_one(chunk):
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 0.1, 1000]) + 3
    y = normalization("standardize", x)(to_unit(x)).double()
    assert y.mean(0).abs().max() < 1e-5 and (y.var(0, unbiased=False) - 1).abs().max() < 1e-4
    assert torch.equal(normalization("none", x)(x), x)


def test_a_small_spread_about_a_large_mean_is_seen():
    x = 1000 + torch.randn(3000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 0.0])
    scale = normalization("standardize", x).scale
    assert float(scale[0]) == pytest.approx(1 / float(x[:, 0].double().std(correction=0)), rel=1e-6)
    assert float(scale[1]) == 1  # a constant stays as it is


def test_statistics_leave_the_data_as_they_were(chunk):
    for x in (images(), images().float() / 255, images().double() / 255):
        before = x.clone()
        for kind in ("standardize", "per_pixel", "whiten"):
            normalization(kind, x)
        assert torch.equal(x, before)


def test_float_images_and_bytes_agree(chunk):
    x = images()
    for kind in ("standardize", "per_pixel", "whiten"):
        a, b = normalization(kind, x), normalization(kind, to_unit(x))
        assert torch.allclose(a(to_unit(x)), b(to_unit(x)), atol=1e-5)


@pytest.mark.parametrize("kind", ["standardize", "per_pixel", "whiten"])
def test_only_training_samples_count(kind):
    """Validation and test samples may be anything: the layer is that of the training samples."""
    x, y = images(), torch.arange(200) % 4
    ours = prepare(Dataset(Split(x, y), Split(x, y), 4), 0, torch.device("cpu"), val_size=0.3, normalize=kind, **COMMON)
    wanted = normalization(kind, ours.train.x)
    for name, value in wanted.state_dict().items():
        assert torch.equal(ours.normalization.state_dict()[name], value)
    everything = normalization(kind, x)
    assert any(not torch.equal(everything.state_dict()[n], v) for n, v in wanted.state_dict().items())


def test_the_layer_is_part_of_the_model_and_not_learnt(run, settings):
    result = run("data.normalize=per_pixel")
    assert result.status == "done"
    layer = normalization("per_pixel", images())
    assert isinstance(layer, Affine) and not list(layer.parameters()) and set(layer.state_dict()) == {"scale", "shift"}


def test_channel_mean_is_the_mean_pixel(chunk):
    x = images()
    assert np.abs(channel_mean(x).numpy().ravel() - x.numpy().mean((0, 2, 3)) / 255).max() < 1e-6
