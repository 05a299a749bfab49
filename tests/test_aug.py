"""Every augmentation against torchvision's (or an independent) result for the same parameters, in float64 unless said."""

import functools
import math
from itertools import permutations

import numpy as np
import pytest
import scipy.ndimage
import torch
from conftest import Silent
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import AutoAugment as TheirAutoAugment
from torchvision.transforms.v2 import AutoAugmentPolicy, RandAugment, TrivialAugmentWide
from torchvision.transforms.v2 import functional as tv

from dlreg import cli, durable
from dlreg.aug import boxes, color, filters, geometry
from dlreg.aug.autoaugment import POLICY
from dlreg.aug.base import each, select
from dlreg.aug.light import covariance
from dlreg.aug.mixup import beta, paste
from dlreg.aug.policy import FOURTEEN, STANDARD, WIDE, Operations
from dlreg.aug.preview import CELL, DRAWS, GAP, LINE, label, preview
from dlreg.aug.warp import smooth
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.context import Context
from dlreg.errors import UserError
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.rehearse import rehearse

MODES = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}
EVERY = [name for name in options("aug") if name != "none"]
# The setting at which each is as good as left out; TrivialAugment and AutoAugment have no strength.
ZERO = {
    "autoaugment": None,
    "blur": "radius=0",
    "brightness": "strength=0",
    "color_jitter": "brightness=0 contrast=0 saturation=0 hue=0",
    "color_shift": "strength=0",
    "contrast": "strength=0",
    "crop": "padding=0",
    "cutmix": "alpha=0",
    "cutout": "size=0",
    "edge_enhance": "strength=0",
    "elastic": "alpha=0",
    "erasing": "p=0",
    "fancy_pca": "sigma=0",
    "flip": "p=0",
    "gaussian_noise": "sigma=0",
    "grayscale": "p=0",
    "hue": "turn=0",
    "lens": "strength=0",
    "lighting": "strength=0",
    "mixup": "alpha=0",
    "perspective": "distortion=0",
    "randaugment": "n=0",
    "resized_crop": "area=[1.0,1.0]",
    "rotate": "degrees=0",
    "salt_pepper": "p=0",
    "saturation": "strength=0",
    "scale": "amount=0",
    "sharpen": "strength=0",
    "shear": "degrees=0",
    "stretch": "amount=0",
    "translate": "pixels=0",
    "trivialaugment": None,
    "vflip": "p=0",
}


def images(n=6, channels=3, height=14, width=12, dtype=torch.float64, seed=0):
    """8-bit values as fractions, computed as `to_unit` does: grey areas, extremes and ties included."""
    x = torch.randint(256, (n, channels, height, width), generator=torch.Generator().manual_seed(seed))
    x[0, :, :3] = 255
    x[n // 6, :, :, :2] = 0
    x[-1] = x[-1, :1]
    return x.to(dtype) * torch.tensor(1 / 255, dtype=dtype)


@functools.cache
def node(name, *words):
    return compose([f"aug={name}", *[f"aug.{name}.{word}" for word in words]]).aug[name]


def make(name, *words, upright=False, channels=3, seed=0):
    """One augmentation in an epoch of its own."""
    part = build("aug", node(name, *words))
    context = Context(seed, torch.device("cpu"), torch.full((channels, 1, 1), 0.4), upright)
    context.begin_epoch(0)
    part.begin(name, context)
    return part


def apply(part, x, classes=4):
    return part.batch(torch.nn.Identity(), x, torch.eye(classes, dtype=x.dtype)[torch.arange(len(x)) % classes])


def draws(low, high, n=6, seed=1):
    return torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


def agrees(ours, theirs, tolerance=1e-12):
    """`theirs(i)` is the result for image i alone."""
    expected = torch.stack([theirs(i) for i in range(len(ours))])
    assert ours.shape == expected.shape
    assert (ours - expected).abs().max() <= tolerance
    return True


# Geometry ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_rotation(mode, channels):
    x, angle = images(channels=channels), draws(-180, 180)
    assert agrees(
        geometry.rotate(x, angle, mode), lambda i: tv.rotate(x[i], float(angle[i]), interpolation=MODES[mode])
    )


@pytest.mark.parametrize("mode", MODES)
def test_translation_scale_and_shear(mode):
    x = images()
    right, down = draws(-3, 3).round(), draws(-3, 3, seed=2).round()
    factor, p, q = draws(0.7, 1.4), draws(-40, 40), draws(-40, 40, seed=2)

    def affine(i, translate=(0, 0), scale=1.0, shear=(0.0, 0.0)):
        return tv.affine(x[i], 0.0, list(translate), scale, list(shear), interpolation=MODES[mode])

    assert agrees(geometry.translate(x, right, down, mode), lambda i: affine(i, (int(right[i]), int(down[i]))))
    assert agrees(geometry.stretch(x, factor, factor, mode), lambda i: affine(i, scale=float(factor[i])))
    assert agrees(geometry.shear(x, p, q, mode), lambda i: affine(i, shear=(float(p[i]), float(q[i]))))


def test_stretch_scales_each_axis():
    """Twice as wide and as high as before, of a square of ones."""
    x = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    x[..., 6:10, 6:10] = 1
    wide = geometry.stretch(x, torch.tensor([2.0]).double(), torch.tensor([1.0]).double(), "nearest")
    assert (wide[0, 0].sum(1) > 0).sum() == 4 and (wide[0, 0].sum(0) > 0).sum() == 8


@pytest.mark.parametrize("mode", MODES)
def test_perspective(mode):
    x = images()
    corners = geometry.own_corners(x)
    moved = corners * (1 - 0.4 * draws(0, 1, n=48).view(6, 4, 2))
    middle = torch.tensor([6.0, 7.0], dtype=torch.float64)  # torchvision counts from the top left corner

    def theirs(i):
        start, end = (corners + middle).tolist(), (moved[i] + middle).tolist()
        return tv.perspective(x[i], start, end, interpolation=MODES[mode])

    assert agrees(geometry.perspective(x, moved, mode), theirs, 1e-6)  # torchvision solves in float32


def test_elastic_displacement_and_its_smoothing():
    x, field = images(), 2 * draws(-1, 1, n=2 * 6 * 14 * 12).view(2, 6, 14, 12)
    step = torch.tensor([2 / 12, 2 / 14], dtype=torch.float64)  # torchvision's unit is half a side
    assert agrees(
        geometry.displace(x, *field, "bilinear"),
        lambda i: tv.elastic(x[i], (field[:, i].permute(1, 2, 0) * step)[None]),
    )
    noise = draws(-1, 1, n=38 * 36).view(1, 38, 36)
    expected = scipy.ndimage.gaussian_filter(noise[0].numpy(), 3.0, radius=12)[12:-12, 12:-12]
    assert np.abs(smooth(noise, 12, 3.0)[0].numpy() - expected).max() <= 1e-14


def test_lens_by_hand():
    """map_coordinates at the places that the formula names."""
    x, k = images(channels=1), draws(-0.5, 0.5)
    v, u = np.mgrid[:14, :12] - np.array([6.5, 5.5])[:, None, None]
    r2 = (u**2 + v**2) / (7**2 + 6**2)

    def theirs(i):
        places = [v * (1 + float(k[i]) * r2) + 6.5 + 1, u * (1 + float(k[i]) * r2) + 5.5 + 1]
        padded = np.pad(x[i, 0].numpy(), 1)  # so that the border fades to 0, as outside
        return torch.from_numpy(scipy.ndimage.map_coordinates(padded, places, order=1, cval=0.0))[None]

    assert agrees(geometry.lens(x, k, "bilinear"), theirs)


def test_resized_crop():
    x = images()
    top, left, height, width = (torch.tensor(v).double() for v in ([0, 3, 9, 2, 5, 13], [0, 1, 8, 2, 0, 11],
                                                                    [14, 6, 5, 9, 3, 1], [12, 7, 4, 3, 12, 1]))  # fmt: skip
    ours = geometry.resized_crop(x, top, left, height, width)
    assert agrees(
        ours,
        lambda i: tv.resized_crop(x[i], int(top[i]), int(left[i]), int(height[i]), int(width[i]), [14, 12]),
    )
    assert (ours[0] - x[0]).abs().max() <= 1e-14


def test_crop_is_a_window_of_the_padded_image():
    x = images(n=64, channels=1)
    out, _ = apply(make("crop", "padding=2"), x)
    padded = torch.nn.functional.pad(x, [2] * 4)
    for image, source in zip(out, padded, strict=True):
        assert any(torch.equal(image, source[:, a : a + 14, b : b + 12]) for a in range(5) for b in range(5))
    assert len({(a, b) for image, source in zip(out, padded, strict=True) for a in range(5) for b in range(5)
                if torch.equal(image, source[:, a : a + 14, b : b + 12])}) > 15  # fmt: skip


@pytest.mark.parametrize(("name", "axis"), [("flip", -1), ("vflip", -2)])
def test_flip(name, axis):
    x = images()
    assert torch.equal(apply(make(name, "p=1"), x)[0], x.flip(axis))
    many = images(n=1).expand(4000, -1, -1, -1)
    mirrored = (apply(make(name, "p=0.3"), many)[0] != many).flatten(1).any(1).double().mean()
    assert abs(mirrored - 0.3) < 5 * math.sqrt(0.21 / 4000)  # false alarm 6e-7


# Colours and filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_color_factors(channels):
    x, f, t = images(channels=channels), draws(0, 2.5), draws(-0.5, 0.5)
    assert agrees(color.brightness(x, f), lambda i: tv.adjust_brightness(x[i], float(f[i])))
    assert agrees(color.contrast(x, f), lambda i: tv.adjust_contrast(x[i], float(f[i])))
    assert agrees(color.saturation(x, f), lambda i: tv.adjust_saturation(x[i], float(f[i])))
    assert agrees(color.gamma(x, f), lambda i: tv.adjust_gamma(x[i], float(f[i])))
    assert agrees(color.hue(x, t), lambda i: tv.adjust_hue(x[i], float(t[i])), 2e-6)  # torchvision's is float32
    assert agrees(filters.sharpness(x, f), lambda i: tv.adjust_sharpness(x[i], float(f[i])))
    assert agrees(color.autocontrast(x), lambda i: tv.autocontrast(x[i]))
    assert agrees(color.grey(x), lambda i: tv.rgb_to_grayscale(x[i]))
    assert agrees(color.invert(x), lambda i: tv.invert(x[i]))
    assert agrees(color.solarize(x, f / 2.5), lambda i: tv.solarize(x[i], float(f[i]) / 2.5))


@pytest.mark.parametrize("channels", [1, 3])
def test_eight_bit_operations(channels):
    """On 8-bit values torchvision's results for uint8, over 255."""
    x = images(channels=channels, height=24, width=20)
    x[2] = x[2] ** 3  # uneven histograms
    x = (x * 255).round() / 255
    eight = (x * 255).round().to(torch.uint8)
    bits = torch.tensor([1, 2, 4, 6, 7, 8])
    assert agrees(color.posterize(x, bits), lambda i: tv.posterize(eight[i], int(bits[i])).double() / 255)
    assert agrees(color.equalize(x), lambda i: tv.equalize(eight[i]).double() / 255)
    small = x[..., :8, :8]
    assert torch.equal(color.equalize(small), small)  # PIL's rule finds nothing to do below 256 pixels


@pytest.mark.parametrize("radius", [1, 3])
def test_blur(radius):
    x, sigma = images(), draws(0.3, 2)
    size = [2 * radius + 1] * 2
    assert agrees(filters.blur(x, radius, sigma), lambda i: tv.gaussian_blur(x[i], size, [float(sigma[i])] * 2))


def test_edges_by_scipys_sobel():
    x, f = images(), draws(0, 1)

    def theirs(i):
        grey = tv.rgb_to_grayscale(x[i])[0].numpy()
        length = np.hypot(*(scipy.ndimage.sobel(grey, axis, mode="nearest") for axis in (0, 1))) / 4
        return (x[i] + float(f[i]) * torch.from_numpy(length)).clamp(0, 1)

    assert agrees(filters.edge_enhance(x, f), theirs)


def test_fancy_pca_noise_has_the_papers_distribution():
    """P (a * lambda) and sigma C z have the same covariance: P diag(sigma lambda)^2 P' = (sigma C)(sigma C)'."""
    x = images(n=20)
    c = covariance(x)
    assert np.abs(c.numpy() - np.cov(x.permute(1, 0, 2, 3).reshape(3, -1).numpy(), bias=True)).max() <= 1e-14
    values, vectors = torch.linalg.eigh(c)
    assert ((vectors * values**2) @ vectors.T - c @ c.T).abs().max() <= 1e-15
    flat = torch.full((40_000, 3, 1, 1), 0.5, dtype=torch.float64)
    part = make("fancy_pca", "sigma=0.1")
    assert torch.equal(part.transform(flat), flat)  # no variance, no noise
    mixed = 0.5 + 0.1 * (torch.rand(40_000, 3, 1, 1, dtype=torch.float64, generator=part.generator) - 0.5)
    mixed[:, 1] = mixed[:, 0]
    noise = (part.transform(mixed) - mixed).flatten(1)
    expected = 0.01 * covariance(mixed) @ covariance(mixed)
    error = 6 * expected.diag().sqrt().outer(expected.diag().sqrt()) * math.sqrt(2 / 40_000)
    assert ((noise.T @ noise / 40_000 - expected).abs() <= error).all()


def test_jitter_is_the_four_operations_in_one_of_their_orders():
    """Every image equals one of the 24 compositions, with factors of its own."""
    x = images(n=40, height=4, width=4)
    out, _ = apply(make("color_jitter"), x)
    part = make("color_jitter")
    factors = {n: part.uniform(x, 0.6, 1.4) for n in ("brightness", "contrast", "saturation")}
    factors["hue"] = part.uniform(x, -0.1, 0.1)
    orders = []
    for i in range(40):
        for order in permutations(factors):
            image = x[i]
            for name in order:
                image = getattr(tv, f"adjust_{name}")(image, float(factors[name][i]))
            if (image - out[i]).abs().max() < 1e-5:
                orders.append(order)
                break
        else:
            pytest.fail(f"image {i} is none of the 24")
    assert len(set(orders)) > 8


def test_noise():
    x = torch.full((2000, 1, 4, 4), 0.5, dtype=torch.float64)
    noise = apply(make("gaussian_noise", "sigma=0.05"), x)[0] - 0.5
    n = noise.numel()
    assert abs(noise.mean()) < 5 * 0.05 / math.sqrt(n) and abs(noise.var() / 0.0025 - 1) < 5 * math.sqrt(2 / n)
    out = apply(make("salt_pepper", "p=0.1"), x.expand(-1, 3, -1, -1))[0]
    assert torch.equal(out[:, 0], out[:, 1]) and set(out.unique().tolist()) == {0.0, 0.5, 1.0}
    for value in (0.0, 1.0):
        assert abs((out[:, 0] == value).double().mean() - 0.05) < 5 * math.sqrt(0.0475 / n)
    bright = apply(make("gaussian_noise", "sigma=0.5"), x)[0]
    assert bright.min() == 0 and bright.max() == 1


# Boxes and labels --------------------------------------------------------------------------------------------------


def test_boxes_have_the_area_and_the_ratio_asked_for():
    x = torch.zeros(4000, 1, 64, 64)
    generator = torch.Generator().manual_seed(0)
    top, left, height, width = boxes.draw_box(x, [0.05, 0.3], [0.5, 2.0], generator, otherwise="nothing")
    share, ratio = height * width / 64**2, width / height
    assert share.min() > 0.045 and share.max() < 0.31 and ratio.min() > 0.45 and ratio.max() < 2.2
    assert abs(share.mean() - 0.175) < 5 * 0.0722 / math.sqrt(4000) + 1e-3
    assert abs(ratio.log().mean()) < 5 * 0.4 / math.sqrt(4000) + 1e-3
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 64).all() and (left + width <= 64).all()
    assert top.min() == 0 and (top + height).max() == 64
    *_, height, width = boxes.draw_box(x[:5], [1.0, 1.0], [3.0, 3.0], generator, otherwise="nothing")  # cannot fit
    assert not height.any() and not width.any()
    *_, height, width = boxes.draw_box(x[:5], [1.0, 1.0], [3.0, 3.0], generator, otherwise="all")
    assert (height == 64).all() and (width == 64).all()


@pytest.mark.parametrize("word", ["color_jitter", "autoaugment", "randaugment", "trivialaugment"])
def test_what_draws_colour_operations_refuses_two_channels_at_the_first_image(word):
    """Also where the first draws have nothing to do with colour: not in the middle of a run."""
    for seed in range(10):
        with pytest.raises(UserError, match="1 or 3 channels, not 2"):
            make(word, seed=seed).transform(torch.zeros(1, 2, 8, 8))


def test_erasings_ratio_is_height_to_width():
    """Zhong et al. (2020), algorithm 1: H = sqrt(S r), W = sqrt(S / r)."""
    x = torch.zeros(200, 3, 40, 40)
    erased = apply(make("erasing", "p=1", "area=[0.05,0.1]", "ratio=[3,4]"), x)[0].ne(0).any(1)
    height, width = erased.any(2).sum(1), erased.any(1).sum(1)
    assert (erased.sum((1, 2)) == height * width).all()
    ratio = height / width
    assert (ratio > 2.3).all() and (ratio < 5).all() and abs(ratio.log().mean() - math.log(12) / 2) < 0.05


def test_fancy_pca_takes_the_training_sets_covariance():
    """Whatever the batch: bytes as values in [0, 1], and the draws are scaled by it."""
    samples = torch.randint(256, (300, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    values = (samples.double() / 255).permute(1, 0, 2, 3).reshape(3, -1)
    assert np.abs(covariance(samples).numpy() - np.cov(values.numpy(), bias=True)).max() < 1e-14
    part = make("fancy_pca", "sigma=0.1")
    part.context.samples = samples
    grey = torch.full((5, 3, 2, 2), 0.5, dtype=torch.float64)
    z = torch.randn(5, 3, dtype=torch.float64, generator=make("fancy_pca").generator)
    assert ((part.transform(grey) - grey)[:, :, 0, 0] - 0.1 * z @ covariance(samples)).abs().max() < 1e-14


@pytest.mark.parametrize("word", [word for word in options("aug") if word != "none"])
def test_float_images_outside_the_unit_are_refused_before_any_work(word, settings, tmp_path):
    """What would cut them off says so; mixing does not, and features are no images."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32, 3, 8, 8)).astype(np.float32), np.arange(32) % 2
    for name, scaled in (("wide", x), ("unit", 1 / (1 + np.exp(-x)))):
        np.savez(tmp_path / f"{name}.npz", x_train=scaled, y_train=y, x_test=scaled, y_test=y)
    words = (
        "data=npz",
        f"data.root={tmp_path}",
        "data.train_size=null",
        "data.val_size=8",
        f"aug={word}",
        "model=lenet",
    )
    for name, refused in (("wide", word != "mixup"), ("unit", False)):
        chosen = settings(*words, f"data.file={name}.npz")
        data = parts.make_data(chosen, parts.load(chosen.data))
        if refused:
            with pytest.raises(
                UserError, match=rf"{word} needs images with values from 0 to 1, and these run from -\d"
            ):
                rehearse(chosen, data)
        else:
            rehearse(chosen, data)


def test_cutout_and_erasing_fill_their_boxes():
    x = images(n=200, channels=3, height=16, width=16) * 0.001 + 0.9
    out, _ = apply(make("cutout", "size=6"), x)
    hidden = (out != x).any(1)
    assert (out.permute(0, 2, 3, 1)[hidden] == torch.tensor(0.4)).all()
    sizes = hidden.sum((1, 2))
    assert sizes.max() == 36 and sizes.min() == 9  # half of each side is outside at a corner
    erased, _ = apply(make("erasing", "p=1", "fill=mean"), x)
    assert (erased[erased != x] == torch.tensor(0.4)).all() and (erased != x).any()
    noisy, _ = apply(make("erasing", "p=1", "fill=random"), x)
    assert noisy[noisy != x].unique().numel() > 1000
    kept = (apply(make("erasing", "p=0.5"), x.repeat(20, 1, 1, 1))[0] == x.repeat(20, 1, 1, 1)).all(-1).all(-1).all(-1)
    assert abs(kept.double().mean() - 0.5) < 5 * 0.5 / math.sqrt(4000)


def test_mixup_is_the_convex_combination_on_samples_and_labels():
    """Samples that show their own one-hot label: x and y must stay equal. Lambda has Beta's moments."""
    n = 2000
    y = torch.eye(n, dtype=torch.float64)
    x = y.view(n, 1, 40, 50)
    out, labels = make("mixup", "alpha=0.4").batch(torch.nn.Identity(), x, y)
    assert torch.equal(out.view(n, n), labels)
    assert (labels.sum(1) - 1).abs().max() <= 1e-15 and (labels >= 0).all()
    assert ((labels > 0).sum(1) <= 2).all()
    features, _ = make("mixup").batch(torch.nn.Identity(), y[:8], y[:8])  # samples need not be images
    assert features.shape == (8, n)


@pytest.mark.parametrize("alpha", [1e-3, 0.2, 1.0, 8.0])
def test_lambda_is_beta_distributed(alpha):
    lam = beta(20_000, alpha, torch.Generator().manual_seed(0)).numpy()
    assert ((lam >= 0) & (lam <= 1)).all()
    if alpha > 0.1:
        assert scipy.stats.kstest(lam, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-6
    else:  # nearly all weight on the ends, as much on either
        assert np.mean((lam < 0.01) | (lam > 0.99)) > 0.98 and abs(np.mean(lam) - 0.5) < 5 * 0.5 / math.sqrt(20_000)


def test_cutmix_labels_are_the_true_area():
    """Images of ones and of zeros: the mean of what was pasted is the label's weight, exactly."""
    x = torch.arange(6).view(6, 1, 1, 1).expand(6, 1, 16, 12).double()
    y = torch.eye(6, dtype=torch.float64)
    other, lam = torch.tensor([1, 2, 3, 4, 5, 0]), draws(0, 1)
    row, column = torch.tensor([0, 15, 8, 3, 7, 12]), torch.tensor([0, 11, 6, 9, 2, 4])
    out, labels = paste(x, y, other, (row, column), lam)
    for i in range(6):
        r = 0.5 * math.sqrt(1 - lam[i])
        x1, x2 = (min(max(int(column[i]) + s * int(r * 12), 0), 12) for s in (-1, 1))  # as in torchvision's CutMix
        y1, y2 = (min(max(int(row[i]) + s * int(r * 16), 0), 16) for s in (-1, 1))
        expected = x[i].clone()
        expected[:, y1:y2, x1:x2] = x[other[i]][:, y1:y2, x1:x2]
        assert torch.equal(out[i], expected)
        share = (x2 - x1) * (y2 - y1) / (16 * 12)
        assert labels[i, i] == pytest.approx(1 - share, abs=1e-15)
        assert labels[i, other[i]] == pytest.approx(share, abs=1e-15)
        assert labels[i].sum() == pytest.approx(1, abs=1e-15)
    whole, whole_labels = paste(x, y, other, (row, column), torch.ones(6))
    assert torch.equal(whole, x) and torch.equal(whole_labels, y)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_labels_stay_probabilities(name):
    for seed in range(20):
        _, y = apply(make(name, seed=seed), images(n=32, dtype=torch.float32))
        assert (y >= 0).all() and (y.sum(1) - 1).abs().max() <= 2e-7


# Policies ----------------------------------------------------------------------------------------------------------

THEIRS = {
    "identity": "Identity", "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY", "rotate": "Rotate", "brightness": "Brightness", "color": "Color",
    "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize", "solarize": "Solarize",
    "autocontrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert",
}  # fmt: skip
SIGNED = list(THEIRS)[1:10]


def operation(space, name):
    """One of them, for every image of a batch."""
    every = Operations(space, "nearest")
    return lambda x, s: every(x, torch.full((len(x),), every.names.index(name)), s)


def test_operations_run_together_as_alone():
    """The moves share one map, and no image is touched by another's operation: bit for bit as one at a time."""
    x, s = images(n=64, height=16, width=16), draws(-1, 1, n=64)
    every = Operations(WIDE, "bilinear")
    choice = torch.arange(64) % len(every.names)
    together = every(x, choice, s)
    for i in range(64):
        alone = every(x[i : i + 1], choice[i : i + 1], s[i : i + 1])
        assert torch.equal(together[i], alone[0]), every.names[choice[i]]


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("space", ["standard", "wide"])
def test_operations_of_the_policies(name, space):
    """Each equals torchvision's operation at torchvision's magnitude, on 8-bit values and a 32 x 32 image."""
    x = images(height=32, width=32)
    eight = (x * 255).round().to(torch.uint8)
    table = RandAugment() if space == "standard" else TrivialAugmentWide()
    transform, space = TheirAutoAugment(), STANDARD if space == "standard" else WIDE
    last = 29 if name == "rotate" else 30  # at 135 degrees diagonals lie between two pixels, and the last bit decides
    level = torch.tensor([0, 3, 9, 14, 22, last])
    sign = torch.tensor([1, -1, 1, -1, 1, -1]) if name in SIGNED else torch.ones(6)
    ours = operation(space, name)(x, (sign * level / 30).double())
    magnitudes = None
    if name != "invert":
        magnitudes = table._AUGMENTATION_SPACE[THEIRS[name]][0](31, 32, 32)
    exact_bits = name in ("posterize", "equalize")

    def theirs(i):
        magnitude = 0.0 if magnitudes is None else float(magnitudes[level[i]]) * float(sign[i])
        if name == "solarize":
            magnitude = 1 - float(level[i]) / 30  # their table is float32
            if level[i] == 0:
                return x[i]  # torchvision inverts pure white here; the paper's range ends at 256
            return tv.solarize(x[i], magnitude * 256 / 255) if magnitude * 256 < 255 else x[i]
        out = transform._apply_image_or_video_transform(
            eight[i] if exact_bits else x[i], THEIRS[name], magnitude, MODES["nearest"], {}
        )
        return out.double() / 255 if exact_bits else out

    geometric = name in ("shear_x", "shear_y", "rotate")
    if geometric:  # their magnitudes are float32: a place on the edge between two pixels may fall on either side
        expected = torch.stack([theirs(i) for i in range(6)])
        assert ((ours - expected).abs() > 1e-9).double().mean() < 2e-3
    else:
        assert agrees(ours, theirs, 1e-6 if name in SIGNED else 1e-12)


def test_autoaugments_table_is_torchvisions():
    table = TheirAutoAugment(AutoAugmentPolicy.CIFAR10)._policies
    assert len(POLICY) == len(table) == 25
    for pair, other in zip(POLICY, table, strict=True):
        for (name, p, m), (their_name, their_p, their_m) in zip(pair, other, strict=True):
            assert (THEIRS[name], p) == (their_name, their_p)
            assert their_m is None or m == their_m


def test_each_image_goes_through_its_own_operation():
    x, f = images(n=9), draws(0, 1, n=9)
    choice = torch.tensor([2, 0, 1, 1, 2, 0, 2, 2, 0])
    operations = [lambda a, f: a, lambda a, f: a + f.view(-1, 1, 1, 1), lambda a, f: a * f.view(-1, 1, 1, 1)]
    out = each(x, choice, operations, f)
    for i in range(9):
        assert torch.equal(out[i], operations[choice[i]](x[i : i + 1], f[i : i + 1])[0])


def test_randaugment_draws_operations_per_image():
    """Of copies of one image, the fourteen operations are met about equally often, with both signs."""
    x = images(n=1, height=16, width=16).expand(2800, -1, -1, -1)
    part = make("randaugment", "n=1", "m=10")
    counts = torch.zeros(FOURTEEN)

    def counting(images, choice, strength):
        counts.add_(choice.bincount(minlength=FOURTEEN))
        assert set(strength.tolist()) == {-1.0, 1.0}
        return images

    part.operations = counting
    apply(part, x)
    assert counts.sum() == 2800
    chi2 = ((counts - 200) ** 2 / 200).sum()
    assert chi2 < scipy.stats.chi2(13).isf(1e-6)
    twice = make("randaugment", "n=2", "m=10")
    assert len(torch.unique(apply(twice, x)[0], dim=0)) > 60  # of 14 * 14 pairs and their signs


# For every option --------------------------------------------------------------------------------------------------


def test_zero_knows_every_option():
    assert sorted(ZERO) == sorted(EVERY)


@pytest.mark.parametrize("name", [n for n in EVERY if ZERO[n]])
def test_strength_zero_is_leaving_it_out(name):
    """No bit of the images and labels changes, nor of what another technique draws."""
    x = images(n=8, dtype=torch.float32)
    zero = make(name, *ZERO[name].split())
    out, y = apply(zero, x)
    assert torch.equal(out, x) and torch.equal(y, torch.eye(4)[torch.arange(8) % 4])
    other = make("crop" if name != "crop" else "flip")
    expected, _ = apply(other, x)
    shared = make(other.name)
    shared.context = zero.context
    assert torch.equal(apply(shared, x)[0], expected)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 20)])
def test_stays_an_image(name, shape):
    """Any size and 1 or 3 channels: same shape and type, values in [0, 1], finite, input untouched, same seed same bits."""
    x = images(16, *shape, dtype=torch.float32)
    before = x.clone()
    out, y = apply(make(name, channels=shape[0]), x)
    assert out.shape == x.shape and out.dtype == x.dtype and y.shape == (16, 4)
    assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1 + 1e-6
    assert torch.equal(x, before)
    again, _ = apply(make(name, channels=shape[0]), x)
    assert torch.equal(out, again)
    grey_does_nothing = name in ("saturation", "hue", "grayscale") and shape[0] == 1
    other, _ = apply(make(name, channels=shape[0], seed=1), x)
    assert torch.equal(out, x) == grey_does_nothing and torch.equal(other, out) == grey_does_nothing


@pytest.mark.parametrize("name", [n for n in EVERY if n != "mixup"])
def test_refused_on_what_is_no_image(name):
    with pytest.raises(UserError, match=f"aug={name} needs images"):
        make(name).batch(torch.nn.Identity(), torch.rand(4, 7), torch.eye(4))


def test_refused_values():
    with pytest.raises(UserError, match="low <= high"):
        make("blur", "sigma=[2,1]")
    with pytest.raises(UserError, match="at most 1"):
        make("resized_crop", "area=[0.5,1.5]")
    with pytest.raises(UserError, match="1 or 3 channels"):
        apply(make("contrast"), torch.rand(2, 4, 8, 8))


def test_remarks():
    assert "6 upside down" in make("flip", upright=True).remark()
    assert make("flip", "p=0", upright=True).remark() is None
    assert make("flip").remark() is None
    assert make("rotate", "degrees=45", upright=True).remark() is None
    assert "6 upside down" in make("rotate", "degrees=90", upright=True).remark()
    assert "6 upside down" in make("trivialaugment", upright=True).remark()
    for name in ("hue", "saturation", "grayscale"):
        assert "grey" in make(name, channels=1).remark()
        assert make(name, channels=3).remark() is None


def test_a_run_on_digits_is_warned_once(run):
    assert len([r for r in run("aug=[flip,crop]", "model=lenet").remarks if "6 upside down" in r]) == 1


def test_select_is_where():
    a, b = images(dtype=torch.float32), images(seed=5, dtype=torch.float32)
    mask = draws(0, 1, n=6 * 14 * 12).view(6, 1, 14, 12) < 0.5
    assert torch.equal(select(mask, a, b), torch.where(mask, a, b))


def test_all_at_strength_zero_train_the_plain_model(settings):
    """Stacked on one run, with their own streams: the weights are those of aug=none, bit for bit."""
    words = [n for n in EVERY if ZERO[n]]
    zeros = [f"aug.{n}.{word}" for n in words for word in ZERO[n].split()]
    few = ("model=lenet", "epochs=1", "data.train_size=64")
    weights = []
    for overrides in (["aug=none"], [f"aug=[{','.join(words)}]", *zeros]):
        chosen = settings(*few, *overrides)
        assert Experiment.of(chosen).run(Silent()).status == "done"
        weights.append(durable.read_listed(Experiment.of(chosen).folder, "weights"))
    assert weights[0] == weights[1]


def test_all_together_train(run):
    result = run(f"aug=[{','.join(EVERY)}]", "model=lenet", "epochs=1", "data.train_size=64")
    assert result.status == "done" and math.isfinite(result.history[0]["train_loss"])


# The picture -------------------------------------------------------------------------------------------------------


def test_show_prints_a_card_each_and_draws_a_picture(capsys, tmp_path):
    path = tmp_path / "out.png"
    words = ["show", "aug=[crop,flip,cutmix]", "--preview", str(path), "data=digits", "aug.crop.padding=1"]
    assert cli.main(words) == 0
    shown = capsys.readouterr()
    for line in ("aug=crop", "aug=flip", "aug=cutmix", "aug.crop.padding=1", "aug.cutmix.alpha=1.0", "He, Zhang"):
        assert line in shown.out
    assert "6 upside down" in shown.err
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[0] > 8 * CELL and pixels.shape[1] > (1 + DRAWS) * CELL
    assert len(np.unique(pixels)) > 10


def test_preview_shows_the_original_first():
    x = images(n=3, height=24, width=24, dtype=torch.float32)
    sheet = preview(make("vflip", "p=1"), x, torch.eye(3), "vflip")
    corner = (GAP, LINE, GAP + CELL, LINE + CELL)
    upright = np.asarray(sheet.crop(corner).resize((24, 24), Image.Resampling.NEAREST))
    assert np.array_equal(upright, (x[0] * 255).round().byte().permute(1, 2, 0).numpy())
    turned = np.asarray(sheet.crop((corner[0] + CELL + GAP, LINE, corner[2] + CELL + GAP, LINE + CELL)))
    assert np.array_equal(turned, np.asarray(sheet.crop(corner))[::-1])


def test_labels_on_the_picture():
    assert label(torch.tensor([0.0, 1.0, 0.0])) == "1"
    assert label(torch.tensor([0.25, 0.0, 0.75])) == "2:0.75 0:0.25"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reg=dropout", "--preview", "x.png"], "--preview shows augmentations"),
        (["aug=[crop,flop]"], "Did you mean flip?"),
        (["model=[mlp,linear]"], "one option, not a list"),
        (["aug=crop", "--preview", "x.nothing"], "cannot be written"),
        (["aug=crop", "--preview", "missing/x.png"], "cannot be written"),
    ],
)
def test_show_refuses(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
