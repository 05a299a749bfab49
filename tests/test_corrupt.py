"""Label noise and the randomization tests: what changes, by how much, and what must stay."""

import math

import pytest
import torch
from conftest import Silent

from dlreg.data.base import Dataset, Split, prepare
from dlreg.data.corrupt import corrupted_pixels, noisy_labels, random_labels
from dlreg.run.experiment import Experiment

N, K = 60_000, 10


def dataset(n=400, n_test=100, channels=3, side=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(20, 120, (n + n_test, channels, side, side), dtype=torch.uint8, generator=generator)
    y = torch.arange(n + n_test) % K
    return Dataset(Split(x[:n], y[:n]), Split(x[n:], y[n:]), K)


def made(seed=0, **given):
    common = {"root": "", "download": False, "val_size": 0.25, "train_size": None, "labelled": None, "imbalance": 1.0,
              "folds": None, "fold": 0,
              "normalize": "unit",
              "label_noise": 0.0, "corruption": "none"}  # fmt: skip
    data = prepare(dataset(), seed, torch.device("cpu"), **common | given)
    return data, data.test.open()


def test_label_noise_is_symmetric_at_its_rate():
    labels = torch.arange(N) % K
    noisy = noisy_labels(labels, K, 0.3, seed=0)
    wrong = (noisy != labels).double()
    assert abs(wrong.mean() - 0.3) < 5 * math.sqrt(0.3 * 0.7 / N)
    shift = ((noisy - labels) % K).bincount(minlength=K).double()
    wanted = N * 0.3 / (K - 1)
    assert ((shift[1:] - wanted) ** 2 / wanted).sum() < 45  # chi squared with 8 degrees of freedom: 4e-7
    assert torch.equal(noisy_labels(labels, K, 0.3, seed=0), noisy)
    assert not torch.equal(noisy_labels(labels, K, 0.3, seed=1), noisy)
    assert torch.equal(noisy_labels(labels, K, 0.0, seed=0), labels)
    assert (noisy_labels(labels, K, 1.0, seed=0) != labels).all()


def test_random_labels_are_uniform_and_the_same_for_every_run():
    labels = torch.arange(N) % K
    drawn = random_labels(labels, K)
    table = (labels * K + drawn).bincount(minlength=K * K).double()
    assert ((table - N / K**2) ** 2 / (N / K**2)).sum() < 190  # chi squared, 99 degrees of freedom: 1e-7
    assert torch.equal(random_labels(labels, K), drawn)


@pytest.mark.parametrize("given", [{"label_noise": 0.5}, {"corruption": "random_labels"}])
def test_only_training_labels_change(given):
    (plain, plain_test), (damaged, test) = made(), made(**given)
    assert torch.equal(damaged.train.x, plain.train.x)
    assert (damaged.train.y != plain.train.y).double().mean() > 0.3
    for one, other in ((damaged.val, plain.val), (test, plain_test)):
        assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


def test_shuffled_pixels_is_one_permutation_for_all():
    plain = dataset()
    train, test = corrupted_pixels("shuffled_pixels", plain.train.x, plain.test.x)
    marked = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(1, 3, 6, 6)
    order = corrupted_pixels("shuffled_pixels", marked, marked)[0]
    assert (order[:, 0] == order[:, 1]).all()  # channels move together
    order = order[0, 0].flatten().long()
    assert order.sort().values.tolist() == list(range(36)) and order.tolist() != list(range(36))
    for before, after in ((plain.train.x, train), (plain.test.x, test)):
        assert torch.equal(after.flatten(2), before.flatten(2)[:, :, order])


def test_random_pixels_permutes_each_image_by_itself():
    plain = dataset()
    marked = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6).expand(500, 3, 6, 6)
    found = corrupted_pixels("random_pixels", marked, marked)[0]
    assert (found.flatten(2).sort(2).values == torch.arange(36)).all()  # a permutation
    assert (found[:, 0] == found[:, 2]).all()
    assert len(found[:, 0].flatten(1).unique(dim=0)) == 500
    train, _ = corrupted_pixels("random_pixels", plain.train.x, plain.test.x)
    assert torch.equal(train.flatten(2).sort(2).values, plain.train.x.flatten(2).sort(2).values)


def test_gaussian_has_the_training_pixels_mean_and_variance():
    plain = dataset()
    train, test = corrupted_pixels("gaussian", plain.train.x, plain.test.x)
    assert train.dtype == torch.uint8 and train.shape == plain.train.x.shape
    mean, sd = plain.train.x.double().mean(), plain.train.x.double().std()
    for x in (train, test):
        n = x.numel()
        assert abs(x.double().mean() - mean) < 5 * sd / math.sqrt(n)
        variance = sd**2 + 1 / 12  # rounding adds a twelfth; the clipped tails are beyond 2.4 sd below
        assert abs(x.double().var() - variance) < 5 * variance * math.sqrt(2 / n) + 0.02 * variance
    features = torch.randn(300, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = corrupted_pixels("gaussian", features, features)[0]
    assert drawn.dtype == torch.float64 and not torch.equal(drawn, features)


@pytest.mark.parametrize("kind", ["random_labels", "shuffled_pixels", "random_pixels", "gaussian"])
def test_the_damage_does_not_depend_on_the_seed_of_the_run(kind):
    """Image by image: whatever split a seed makes, a sample looks the same and has the same label."""
    (first, test), (second, test_again) = made(0, corruption=kind), made(1, corruption=kind)
    seen = {x.numpy().tobytes(): int(y) for x, y in zip(first.train.x, first.train.y, strict=True)}
    again = [(x.numpy().tobytes(), int(y)) for x, y in zip(second.train.x, second.train.y, strict=True)]
    common = [seen[x] == y for x, y in again if x in seen]
    assert len(common) > 150 and all(common)
    assert torch.equal(test.x, test_again.x)


def test_a_run_can_memorize_random_labels(settings):
    """A sanity check of the whole path: training error far below what these labels can be predicted at."""
    words = ("data.corruption=random_labels", "model.hidden=[128]", "optimizer=adam", "optimizer.lr=0.01", "epochs=60")
    result = Experiment.of(settings(*words)).run(Silent())
    assert result.train["error"] < 0.05 < 0.7 < result.test["last"]["error"]
