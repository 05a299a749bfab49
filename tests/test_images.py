"""Differences over seeds and test images: by hand, against the crossed bootstrap, and their coverage of a population."""

from pathlib import Path

import numpy as np
import pytest
from results import result
from scipy.special import ndtr

from dlreg.report import images
from dlreg.report.images import crossed
from dlreg.report.judge import compare
from dlreg.report.question import Question
from dlreg.report.render import render

GAIN = 0.1  # of the row over its control, in probits


def drawn(tables, seeds, images, gain=GAIN, seed=0):
    """wrong (tables, 2, seeds, images) of a control and a row: images of unequal difficulty, seeds that shift a whole run."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 1, (tables, 1, 1, images)) + rng.normal(0, 0.5, (tables, 2, 1, images))
    luck = rng.normal(0, 0.03, (tables, 2, seeds, 1))
    offset = -2 - gain * np.arange(2)[:, None, None]
    return difficulty + luck + offset + rng.normal(size=(tables, 2, seeds, images)) > 0


def true_difference(gain=GAIN):
    """In percent, over all seeds and images: the probits' variance is 1 + 1/4 + .03^2 + 1."""
    spread = np.sqrt(2.25 + 0.03**2)
    return 100 * (ndtr((-2 - gain) / spread) - ndtr(-2 / spread))


def test_variance_by_hand_and_against_the_bootstrap():
    wrong = drawn(1, 4, 300)[0]
    d = 100 * (wrong[1].astype(float) - wrong[0])
    found = crossed(d)
    seeds, images = d.shape
    rest = d - d.mean(1, keepdims=True) - d.mean(0) + d.mean()
    squares = images * d.mean(1).var(ddof=1), seeds * d.mean(0).var(ddof=1), (rest**2).sum() / (3 * 299)
    assert found.mean == pytest.approx(d.mean())
    expected = max(squares[0] + squares[1] - squares[2], *squares[:2]) / (seeds * images)
    assert found.se**2 == pytest.approx(expected)
    rng = np.random.default_rng(0)
    resampled = [d[rng.integers(seeds, size=seeds)][:, rng.integers(images, size=images)].mean() for _ in range(3000)]
    # Resampling both index sets counts the rest three times, and a variance of n as (n-1)/n of it.
    assert 0.7 * expected < np.var(resampled) < 1.1 * (expected + 2 * squares[2] / (seeds * images))
    assert np.allclose(crossed(np.stack([d, 2 * d])).se, [found.se, 2 * found.se])


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_covers_the_population_where_that_over_seeds_does_not(seeds):
    wrong = drawn(1500, seeds, 400, seed=seeds)
    d = 100 * (wrong[:, 1].astype(np.float32) - wrong[:, 0])
    found = crossed(d)
    covered = np.abs(found.mean - true_difference()) < found.half_width()
    assert 0.93 < covered.mean() < 0.985
    by_seed = d.mean(-1)
    from dlreg.report.stats import interval

    low, high = interval(by_seed)
    assert ((low < true_difference()) & (true_difference() < high)).mean() < covered.mean() - 0.02 * (seeds > 3)


def test_false_verdicts_about_the_population():
    wrong = drawn(1500, 5, 400, gain=0.0, seed=1)
    assert (crossed(100 * (wrong[:, 1].astype(np.float32) - wrong[:, 0])).p < 0.05).mean() <= 0.05 + 3 * 0.0057


@pytest.fixture
def runs(monkeypatch):
    """runs(gain, ...) -> two rows of five runs, with the record of images that each left in its folder, or without."""
    records = {}
    monkeypatch.setattr(images, "wrong", lambda run, select: records.get(run.folder))

    def make(gain, kept=True, digest="abc"):
        wrong = drawn(1, 5, 2000, gain)[0]
        found = []
        for reg, of_row in zip(("none", "l2"), wrong, strict=True):
            for seed in range(5):
                run = result(reg, seed, 100 * of_row[seed].mean())
                if kept:
                    run.folder, run.test_set = Path(f"{digest}{gain}{reg}{seed}"), digest
                    records[run.folder] = of_row[seed]
                found.append(run)
        return found

    return make


def test_the_table_says_both_and_verdicts_ask_for_both_on_demand(runs):
    table = compare(runs(0.3))
    change = next(row.difference for row in table.rows if row.against)
    assert change.verdict == "better" and change.images.mean == pytest.approx(change.stat.mean)
    assert (
        "95 % of Δ, new images" in render(table, "md")
        and "new images: what it would give" in table.protocol["Verdicts"]
    )
    # A small gain is certain for these images and not for others.
    close = compare(runs(0.06), question=Question())
    both = compare(runs(0.06), question=Question(population="images"))
    verdicts = [next(row.difference.verdict for row in t.rows if row.against) for t in (close, both)]
    assert verdicts[1] == "not decided" and "Verdicts hold for both" in both.protocol["Verdicts"]


def test_old_runs_tabulate_and_what_cannot_be_said_is_left_out_by_name(runs):
    table = compare(runs(0.3, kept=False))
    assert "new images" not in render(table, "md").split("- In words")[0]
    assert "kept no record of which images were wrong" in table.protocol["Verdicts"]
    asked = compare(runs(0.3, kept=False), question=Question(population="images"))
    assert next(row.difference.verdict for row in asked.rows if row.against) == "no record of the images"
    mixed = [*runs(0.3)[:5], *runs(0.3, digest="other")[5:]]
    assert next(row.difference.images for row in compare(mixed).rows if row.against) is None


@pytest.mark.parametrize(
    ("metric", "about"),
    [
        ("test_error", "these test images"),
        ("nll", "these test samples"),
        ("train_loss", "this data"),
        ("val_error", "this data"),
        ("weight_norm", "this data"),
        ("seconds", "this machine"),
    ],
)
def test_a_verdict_is_about_what_its_column_was_measured_on(metric, about):
    errors = {"none": (2.0, 2.1, 2.2), "dropout": (1.5, 1.7, 1.6)}
    runs = [result(reg, seed, error) for reg, found in errors.items() for seed, error in enumerate(found)]
    text = compare(runs, question=Question([metric])).protocol["Verdicts"]
    assert f"training again would give on {about}" in text and text.endswith(f"Verdicts are about {about}")
