"""Random streams: repeatable, independent of each other, different at every epoch."""

import torch

from dlreg.context import Context, Progress, derive_seed


def draws(context, name, n=100):
    return torch.rand(n, generator=context.generator(name))


def test_a_stream_does_not_depend_on_other_streams():
    alone, busy = Context(0, torch.device("cpu")), Context(0, torch.device("cpu"))
    draws(busy, "dropout/dropout", 1000)
    torch.rand(5)
    assert torch.equal(draws(alone, "order"), draws(busy, "order"))


def test_names_epochs_and_seeds_all_matter():
    seeds = {derive_seed(s, name, e) for s in range(10) for name in ("order", "init", "noise/a") for e in range(1000)}
    assert len(seeds) == 10 * 3 * 1000
    assert all(0 <= s < 2**63 for s in seeds)


def test_a_stream_restarts_with_its_epoch():
    context = Context(3, torch.device("cpu"))
    context.begin_epoch(1)
    first, used = draws(context, "noise"), draws(context, "noise")
    assert not torch.equal(first, used)
    context.begin_epoch(2)
    assert not torch.equal(first, draws(context, "noise"))
    context.begin_epoch(1)
    assert torch.equal(first, draws(context, "noise"))


def test_begin_epoch_fixes_the_global_stream():
    context = Context(0, torch.device("cpu"))
    context.begin_epoch(4)
    first = torch.rand(3)
    torch.rand(7)
    context.begin_epoch(4)
    assert torch.equal(first, torch.rand(3))


def test_seed_zero_is_a_seed():
    assert derive_seed(0, "init") != derive_seed(1, "init")


def test_progress():
    progress = Progress(step=15, steps_per_epoch=10, total_steps=30)
    assert progress.epoch == 1.5
    assert progress.fraction == 0.5
    assert Progress(31, 10, 30).fraction == 1.0
