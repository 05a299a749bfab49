"""Schedules against their formulas and torch's schedulers, at the first, second and last update and one past the last."""

import functools
import math
import random
from fractions import Fraction

import pytest
import torch

from dlreg import cli
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.context import Progress
from dlreg.errors import UserError
from dlreg.schedule.base import multiplier
from dlreg.schedule.preview import bars, curve

EPOCHS, PER_EPOCH = 12, 10
TOTAL = EPOCHS * PER_EPOCH
POINTS = (0, 1, TOTAL - 1, TOTAL)


@functools.cache
def scheduled(word, **hyper):
    """`schedule=word` with these hyperparameters, as a run would have it."""
    node = compose([f"schedule={word}", *(f"schedule.{k}={v}" for k, v in hyper.items())]).schedule
    return functools.partial(multiplier, build("schedule", node), warmup=node["warmup"])


def at(word, *steps, val_losses=(), **hyper):
    """Its multipliers at these steps."""
    found = [scheduled(word, **hyper)(Progress(s, PER_EPOCH, TOTAL, val_losses)) for s in steps]
    return found[0] if len(found) == 1 else found


def torchs(scheduler, n, every=1):
    """The multipliers of a torch scheduler over n calls, each value held for `every` steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = scheduler(optimizer)
    found = []
    for _ in range(n):
        found += [optimizer.param_groups[0]["lr"]] * every
        optimizer.step()
        scheduler.step()
    return found


S = torch.optim.lr_scheduler
SAME_AS_TORCH = {
    "linear": (lambda o: S.LinearLR(o, 1.0, 0.1, TOTAL), {"final": 0.1}, 1),
    "cosine": (lambda o: S.CosineAnnealingLR(o, TOTAL, eta_min=0.05), {"final": 0.05}, 1),
    "step": (lambda o: S.StepLR(o, 3, 0.3), {"every": 3, "gamma": 0.3}, PER_EPOCH),
    "multistep": (lambda o: S.MultiStepLR(o, [2, 7], 0.2), {"milestones": "[2,7]", "gamma": 0.2}, PER_EPOCH),
    "constant": (lambda o: S.ConstantLR(o, 1.0), {}, PER_EPOCH),
}


@pytest.mark.parametrize("word", SAME_AS_TORCH)
def test_equals_torchs_scheduler_at_every_step(word):
    scheduler, hyper, every = SAME_AS_TORCH[word]
    theirs = torchs(scheduler, TOTAL // every + 1, every)
    ours = at(word, *range(TOTAL + 1), **hyper)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=False)) < 1e-12


def test_exponential_meets_torchs_at_every_epoch_and_falls_between():
    theirs = torchs(lambda o: S.ExponentialLR(o, 0.9), EPOCHS + 1)
    assert at("exponential", *range(0, TOTAL + 1, PER_EPOCH), gamma=0.9) == pytest.approx(theirs, abs=1e-14)
    assert at("exponential", 5, gamma=0.9) == pytest.approx(math.sqrt(0.9), abs=1e-15)


@pytest.mark.parametrize("t_mult", [1, 2, 3])
def test_cosine_restarts_equals_torch_at_fractions_of_epochs(t_mult):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = S.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=t_mult, eta_min=0.01)
    theirs = []
    for step in range(TOTAL + 1):
        scheduler.step(step / PER_EPOCH)
        theirs.append(optimizer.param_groups[0]["lr"])
    ours = at("cosine_restarts", *range(TOTAL + 1), t_0=2, t_mult=t_mult, final=0.01)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-12


def test_the_lectures_cosine_with_restarts():
    """eta_min + (eta_max - eta_min) (1 + cos(pi T_cur / T_i)) / 2 with cycles of 1, 2, 4, 5 (cut) epochs of 12."""
    start, length = [0, 1, 3, 7], [1, 2, 4, 8]
    for step in range(TOTAL):
        cycle = max(i for i in range(4) if start[i] <= step / PER_EPOCH)
        wanted = 0.1 + 0.45 * (1 + math.cos((step / PER_EPOCH - start[cycle]) / length[cycle] * math.pi))
        assert at("cosine_restarts", step, t_0=1, t_mult=2, final=0.1) == pytest.approx(wanted, abs=1e-12)


FORMULAS = {
    "constant": ({}, lambda t: 1),
    "inverse_time": ({"decay": 0.5}, lambda t: 1 / (1 + 0.5 * t / PER_EPOCH)),
    "linear": ({"final": 0.01}, lambda t: (1 - t / TOTAL) + t / TOTAL * 0.01),
    "exponential": ({"gamma": 0.5}, lambda t: math.exp(math.log(0.5) * t / PER_EPOCH)),
    "step": ({"every": 4, "gamma": 0.5}, lambda t: 0.5 ** ((t // PER_EPOCH) // 4)),
    "multistep": ({"milestones": "[6,9]", "gamma": 0.1}, lambda t: 1 if t < 60 else 0.1 if t < 90 else 0.01),
    "cosine": ({"final": 0}, lambda t: math.cos(math.pi * t / TOTAL / 2) ** 2),
    "cosine_restarts": ({"t_0": 4, "t_mult": 2}, lambda t: math.cos(math.pi * (t if t < 40 else (t - 40) / 2) / 80) ** 2
                        if t < TOTAL else 1),
    "one_cycle": ({"rise": 0.25, "start": 0.2, "final": 0, "shape": "linear"},
                  lambda t: 0.2 + 0.8 * t / 30 if t < 30 else (TOTAL - t) / 90),
    "plateau": ({}, lambda t: 1),
}  # fmt: skip


def test_every_schedule_has_a_formula_here():
    assert set(FORMULAS) == set(options("schedule"))


@pytest.mark.parametrize("word", FORMULAS)
def test_formula_at_the_ends(word):
    hyper, formula = FORMULAS[word]
    for step in (*POINTS, 29, 30, 39, 40, 60, 90):
        assert at(word, step, **hyper) == pytest.approx(formula(step), abs=1e-12), step


def test_inverse_time_counts_updates_as_the_lectures_do():
    assert at("inverse_time", 0, 1, 37, decay=0.3, per="step") == pytest.approx([1, 1 / 1.3, 1 / (1 + 0.3 * 37)])


def test_one_cycle_equals_torchs():
    """torch ends on the last of its T calls and peaks one call early: its T is our T + 1, its pct_start accordingly."""
    for rise in (0.25, 0.5):
        theirs = torchs(
            lambda o, r=rise: S.OneCycleLR(
                o,
                1.0,
                TOTAL + 1,
                pct_start=(r * TOTAL + 1) / (TOTAL + 1),
                cycle_momentum=False,
                div_factor=20,
                final_div_factor=100,
            ),
            TOTAL,
        )
        ours = at("one_cycle", *range(TOTAL), rise=rise, start=0.05, final=0.05 / 100)
        assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1e-12


def test_stairs_of_fractions_of_an_epoch_fall_where_they_should():
    values = at("step", *range(TOTAL), every=0.3, gamma=0.5)
    assert values == [0.5 ** (step // 3) for step in range(TOTAL)]


@pytest.mark.parametrize("per_epoch", [7, 10, 25])
@pytest.mark.parametrize("period", ["0.1", "0.2", "0.3", "0.7", "1.1", "1.3", "2.2", "3"])
def test_periods_end_at_the_nearest_update_whatever_the_float_product_is(period, per_epoch):
    """Against exact fractions: restarts, stairs and milestones fall at the update nearest to k periods."""
    exact, total = Fraction(period) * per_epoch, 12 * per_epoch
    if exact < 1:
        pytest.skip("less than an update")

    def run(word, **hyper):
        return [scheduled(word, **hyper)(Progress(s, per_epoch, total)) for s in range(total)]

    ends = [math.floor(k * exact + Fraction(1, 2)) for k in range(1, total)]
    done = [sum(end <= step for end in ends) for step in range(total)]
    assert run("step", every=period, gamma=0.5) == [0.5**k for k in done]
    assert run("multistep", milestones=f"[{period}]", gamma=0.5) == [0.5 ** (k > 0) for k in done]
    tops = [step for step, value in enumerate(run("cosine_restarts", t_0=period, t_mult=1)) if value == 1]
    assert tops == [0, *(end for end in ends if end < total)]
    doubled = [math.floor((2**k - 1) * exact + Fraction(1, 2)) for k in range(12)]
    tops = [step for step, value in enumerate(run("cosine_restarts", t_0=period, t_mult=2)) if value == 1]
    assert tops == [end for end in doubled if end < total]


@pytest.mark.parametrize("seed", range(20))
def test_plateau_equals_torchs(seed):
    rng = random.Random(seed)
    patience, cooldown, factor = rng.randrange(4), rng.randrange(4), rng.uniform(0.1, 0.9)
    threshold = rng.choice([0.0, 1e-4, 0.1])
    losses = [round(rng.uniform(0.5, 1.5) / (1 + 0.1 * i), 1) for i in range(40)]  # rounded: ties happen
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = S.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, cooldown=cooldown, min_lr=1e-3, eps=0
    )
    hyper = {"factor": factor, "patience": patience, "threshold": threshold, "cooldown": cooldown, "final": 1e-3}
    for i, loss in enumerate(losses):
        ours = at("plateau", 0, val_losses=tuple(losses[:i]), **hyper)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        scheduler.step(loss)


def test_plateau_in_a_run_follows_its_own_history(run):
    result = run("schedule=plateau", "schedule.patience=0", "schedule.factor=0.5", "epochs=8", "optimizer.lr=2.0")
    rates, losses = [row["lr"] for row in result.history], [row["val_loss"] for row in result.history]
    count, best = 0, math.inf
    for i, loss in enumerate(losses):
        assert rates[i] == 2.0 * 0.5**count
        count += loss >= best * (1 - 1e-4)
        best = min(best, loss) if loss < best * (1 - 1e-4) else best
    assert count > 0, "the test needs a run with a plateau"


def test_plateau_without_validation_is_refused(run):
    with pytest.raises(UserError, match=r"data\.val_size=0"):
        run("schedule=plateau", "data.val_size=0")


@pytest.mark.parametrize("word", FORMULAS)
def test_warmup_rises_in_a_line_then_leaves_the_schedule_alone(word):
    """After `warmup` epochs of n updates the factor is exactly 1; update t before that has (t + 1) / (n + 1)."""
    plain = at(word, *range(TOTAL))
    warm = at(word, *range(TOTAL), warmup=2)
    n = 2 * PER_EPOCH
    assert warm[n:] == plain[n:]
    assert warm[:n] == pytest.approx([value * (t + 1) / (n + 1) for t, value in enumerate(plain[:n])], abs=1e-15)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("schedule=cosine schedule.final=1.5", "schedule.final=1.5"),
        ("schedule=cosine_restarts schedule.t_0=0", "schedule.t_0=0"),
        ("schedule=cosine_restarts schedule.t_mult=0.5", "schedule.t_mult=0.5"),
        ("schedule=one_cycle schedule.rise=1", "schedule.rise=1"),
        ("schedule=plateau schedule.patience=-1", "schedule.patience=-1"),
        ("schedule=inverse_time schedule.per=batch", "schedule.per=batch"),
        ("schedule=multistep schedule.milestones=[0]", "schedule.milestones"),
        ("schedule.warmup=-1", "schedule.warmup=-1"),
    ],
)
def test_bad_values_are_refused_by_name(override, says):
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        compose(override.split())


def test_show_draws_the_curve_of_the_given_values(capsys, tmp_path):
    picture = tmp_path / "curve.png"
    words = ["show", "schedule=cosine_restarts", "schedule.t_0=5", "epochs=10", "schedule.t_mult=1"]
    assert cli.main([*words, "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "over 10 epochs" in shown and "█" in shown and "Loshchilov" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_show_refuses_to_plot_what_is_no_schedule(capsys, tmp_path):
    assert cli.main(["show", "reg=dropout", "--plot", str(tmp_path / "x.png")]) == 2
    assert cli.main(["show", "schedule=cosine", "--plot", str(tmp_path / "no" / "x.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_bars_scale_to_the_largest_value():
    assert bars([1.0, 0.5, 0.25, 0.0], 1) == ["       1 █▄▂"]
    assert bars([2.0, 1.0], 2) == ["       2 █", "       0 ██"]
    epochs, values = curve(lambda progress: 1 - progress.fraction, 4, 5)
    assert (epochs[0], values[0]) == (0, 1) and epochs[-1] == 3.99 and values[-1] == pytest.approx(1 / 400)
