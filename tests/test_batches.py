"""Which samples make up an epoch: the batch rules of `sampler`, counted."""

import math

import pytest
import torch

from dlreg.context import Context
from dlreg.errors import UserError
from dlreg.run.batches import batches

N = 1000


def epoch(sampler, y=None, batch_size=64, number=0, seed=0):
    context = Context(seed, torch.device("cpu"))
    context.begin_epoch(number)
    return list(batches(sampler, torch.zeros(N, dtype=torch.long) if y is None else y, batch_size, context))


def test_shuffle_visits_every_sample_once_in_a_new_order():
    first, second = (torch.cat(epoch("shuffle", number=e)) for e in (0, 1))
    assert torch.equal(first.sort().values, torch.arange(N))
    assert torch.equal(second.sort().values, torch.arange(N))
    assert not torch.equal(first, second)


def test_cyclic_visits_every_sample_in_the_same_order():
    assert all(torch.equal(torch.cat(epoch("cyclic", number=e)), torch.arange(N)) for e in (0, 1))


def test_random_draws_with_replacement_uniformly():
    """Counts over 300 epochs are Poisson-like: chi-square within 6 of its standard deviations."""
    counts = torch.stack([torch.cat(epoch("random", number=e)).bincount(minlength=N) for e in range(300)])
    assert counts[0].max() > 1 and counts[0].min() == 0
    chi2 = float(((counts.sum(0) - 300.0) ** 2 / 300).sum())
    assert abs(chi2 - (N - 1)) < 6 * math.sqrt(2 * (N - 1))


@pytest.mark.parametrize("batch_size", [1, 64, N])
def test_random_batches_have_an_unbiased_gradient(batch_size):
    """E over batches of the mean of f_i is the mean over all: 200 epochs within 6 standard errors."""
    values = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    means = torch.stack(
        [values[b].mean() for e in range(200) for b in epoch("random", batch_size=batch_size, number=e)[:5]]
    )
    assert abs(float(means.mean() - values.mean())) < 6 * float(means.std()) / math.sqrt(len(means))


def test_balanced_draws_every_class_equally_often_and_its_members_alike():
    y = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    drawn = torch.cat([torch.cat(epoch("balanced", y, number=e)) for e in range(100)])
    assert len(drawn) == 100 * N
    share = y[drawn].bincount().double() / len(drawn)
    assert ((share - 1 / 3).abs() < 6 * math.sqrt(2 / 9 / len(drawn))).all()
    for k in range(3):
        members = drawn[y[drawn] == k].bincount(minlength=N)[y == k].double()
        expected = len(drawn) / 3 / len(members)
        assert (
            abs(float(((members - expected) ** 2 / expected).sum()) - len(members))
            < 6 * math.sqrt(2 * len(members)) + 6
        )


def test_balanced_is_a_class_weighted_loss_in_expectation():
    """The mean over balanced batches is the mean over classes of the class means."""
    y = torch.tensor([0] * 900 + [1] * 100)
    values = (
        torch.where(y == 0, 1.0, 3.0).double() + torch.randn(N, generator=torch.Generator().manual_seed(0)).double()
    )
    means = torch.stack([values[torch.cat(epoch("balanced", y, number=e))].mean() for e in range(200)])
    expected = (values[y == 0].mean() + values[y == 1].mean()) / 2
    assert abs(float(means.mean() - expected)) < 6 * float(means.std()) / math.sqrt(200)
    assert abs(float(means.mean() - values.mean())) > 60 * float(means.std()) / math.sqrt(200)


@pytest.mark.parametrize("sampler", ["shuffle", "random", "cyclic", "balanced"])
def test_sizes_of_batches_and_seeds(sampler):
    y = torch.arange(N) % 3
    assert [len(b) for b in epoch(sampler, y, 300)] == [300, 300, 300, 100]
    assert [len(b) for b in epoch(sampler, y, 333)] == [333, 333, 333]  # a single left-over sample is left out
    assert len(epoch(sampler, y, 1)) == N
    again, other = torch.cat(epoch(sampler, y)), torch.cat(epoch(sampler, y, seed=1))
    assert torch.equal(again, torch.cat(epoch(sampler, y)))
    assert torch.equal(again, other) == (sampler == "cyclic")


@pytest.mark.parametrize("sampler", ["random", "cyclic", "balanced"])
def test_every_sampler_trains(sampler, run):
    assert run(f"sampler={sampler}").status == "done"


def test_an_unknown_sampler_is_refused(settings):
    with pytest.raises(UserError, match="sampler=balance must be 'shuffle', 'random', 'cyclic' or 'balanced'"):
        settings("sampler=balance")
