"""The ladder of attacks on a fitted model: closed form, monotone, clean at strength zero, honest about masked gradients."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from torch import nn

from dlreg.attack.base import Ascent, Ball
from dlreg.attack.ladder import FGSM, PGD, Nothing
from dlreg.config.compose import compose
from dlreg.config.schema import LATER
from dlreg.data.base import Split
from dlreg.errors import UserError
from dlreg.report.run_page import run_page
from dlreg.run.evaluate import evaluate
from dlreg.run.experiment import Experiment
from dlreg.run.result import identity, read, run_id
from dlreg.run.robust import Attacker, under_attack


def attacker(attack):
    return Attacker(attack, F.cross_entropy, 0, contextlib.nullcontext())


def toy(k=3, n=300):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, k))
    x = torch.rand(n, 3, 2, 2)
    with torch.no_grad():
        y = model.eval()(x + 0.2 * torch.randn_like(x)).argmax(1)
    return model, Split(x, y)


def test_on_two_linear_classes_the_error_is_that_of_the_margin():
    torch.manual_seed(0)
    model, eps = nn.Linear(12, 2).double(), 0.1
    split = Split(torch.rand(200, 12, dtype=torch.float64), torch.arange(200) % 2)
    found, _ = attacker(PGD(eps=eps, norm="linf", steps=3, step_size=eps, restarts=1)).errors(model, split)
    w, b = model.weight[0] - model.weight[1], model.bias[0] - model.bias[1]
    margin = (1 - 2 * split.y) * (split.x @ w + b)
    expected = float((margin < eps * w.abs().sum()).double().mean())
    assert found["fgsm_error"] == found["pgd_error"] == found["robust_error"] == expected


@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_strength_zero_is_the_clean_error_to_the_bit(attack):
    model, split = toy()
    more = {"steps": 3, "step_size": 0.1, "restarts": 2} if attack is PGD else {}
    found, remarks = attacker(attack(eps=0.0, norm="linf", **more)).errors(model, split)
    assert set(found.values()) == {evaluate(model, split)["error"]} and not remarks


def test_errors_never_fall_with_the_rung_the_restarts_or_the_ball():
    model, split = toy()
    columns = {}
    for eps in (0.02, 0.1, 0.3):
        for restarts in (1, 3):
            attack = PGD(eps=eps, norm="linf", steps=3, step_size=None, restarts=restarts)
            columns[eps, restarts] = attacker(attack).errors(model, split)[0]
            values = list(columns[eps, restarts].values())
            assert [evaluate(model, split)["error"], *values] == sorted([evaluate(model, split)["error"], *values])
        assert columns[eps, 1]["robust_error"] <= columns[eps, 3]["robust_error"]
    assert columns[0.02, 3]["robust_error"] < columns[0.1, 3]["robust_error"] < columns[0.3, 3]["robust_error"]


def test_it_is_repeated_to_the_bit_and_leaves_the_model_alone():
    model, split = toy()
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    attack = PGD(eps=0.05, norm="l2", steps=3, step_size=None, restarts=2)
    assert attacker(attack).errors(model, split) == attacker(attack).errors(model, split)
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_no_attack_costs_nothing():
    assert attacker(Nothing()).errors(None, None) == ({}, [])


class Masked(nn.Module):
    """Where a large step leads elsewhere, small ones see flat ground."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        push = (x.sum(1) - x.detach().sum(1)) * 1e-3  # a gradient that means nothing
        right = (x.flatten(1).detach().amin(1) < 0.599).float()
        return torch.stack([self.scale * right - push, self.scale * (1 - right) + push], 1)


def test_masked_gradients_are_remarked_on():
    split = Split(torch.full((50, 4), 0.5), torch.zeros(50, dtype=torch.long))
    weak = PGD(eps=0.1, norm="linf", steps=2, step_size=0.001, restarts=1)
    weak.rungs["pgd_error"] = [Ascent(Ball(0.1, "linf"), 2, 0.001, random_start=False)]
    found, remarks = attacker(weak).errors(Masked(), split)
    assert found["fgsm_error"] == 1.0
    assert any("masked" in text for text in remarks)


def test_a_collapse_is_remarked_on():
    model, split = toy()
    split = replace(split, y=model.eval()(split.x).argmax(1))
    _, remarks = attacker(PGD(eps=0.5, norm="linf", steps=5, step_size=None, restarts=1)).errors(model, split)
    assert len(remarks) == 1 and remarks[0].startswith("under attack accuracy falls below chance: 100.0% without")


def test_the_default_is_no_part_of_a_runs_identity():
    config = compose(["device=cpu"]).model_dump()
    assert not {*LATER} & {*identity(config)}
    assert config["attack"] == {"name": "none", "_target_": "dlreg.attack.ladder.Nothing"}
    assert run_id(config) == run_id({k: v for k, v in config.items() if k != "attack"})
    other = compose(["device=cpu", "attack=pgd"]).model_dump()
    assert run_id(other) != run_id(config)


def test_a_run_has_its_ladder_and_reads_the_test_set_once(run):
    plain, attacked = run("epochs=1"), run("epochs=1", "attack=pgd", "attack.steps=2", "attack.restarts=2")
    for split in ("val", "test"):
        before, after = getattr(plain, split)["last"], getattr(attacked, split)["last"]
        assert {k: after[k] for k in before} == before  # the attack comes after, and changes nothing
        rungs = [after[k] for k in ("error", "fgsm_error", "pgd_error", "robust_error")]
        assert rungs == sorted(rungs)
    assert attacked.test_reads == 1


def test_page_and_predictions_say_what_the_attack_left(settings, spoken):
    """As the run measured it; of other data, here the same under another name, as the same attack measures it."""
    experiment = Experiment.of(settings("epochs=1", "attack=fgsm"))
    found = experiment.run(Silent())
    error = found.test["last"]["fgsm_error"]
    assert error > found.test["last"]["error"]
    said = f"fgsm {100 * error:.2f} %"
    assert f"<dt>Under attack</dt><dd>{said}</dd>" in run_page(read(experiment.folder))
    told = f"error {100 * found.test['last']['error']:.2f} % ({said} under attack) of 360 samples"
    for words in ([], ["data=digits"]):
        assert told in spoken("predict", str(experiment.folder), *words)[2]
    assert under_attack({"_target_": "gone.Attack"}, found.test["last"]) == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["attack=fgsm", "reg=ensemble", "reg.ensemble.k=2", "reg.ensemble.combine=vote"], "combine=vote"),
        (["attack=pgd", "attack.eps=-1"], "attack.eps=-1 must be greater than or equal to 0"),
        (["attack=pdg"], "pgd"),
        (
            ["attack=fgsm", "data=sine", "loss=mse", "data.train_size=null"],
            "attack=fgsm counts errors of classes",
        ),
        (["attack=pgd", "model=knn"], "attack=pgd follows the gradient of the loss, and model=knn has none"),
    ],
)
def test_what_cannot_be_attacked_is_refused_before_any_work(words, message, settings):
    with pytest.raises(UserError, match=message) as refused:
        Experiment.of(settings(*words)).run(None)
    assert len(str(refused.value).splitlines()) == 1
    assert not Path(settings().outputs).exists()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 255.0)])
def test_images_outside_of_what_pixels_are_are_refused_in_one_line(low, high, settings, tmp_path):
    x = np.random.default_rng(0).uniform(low, high, (40, 1, 4, 4)).astype(np.float32)
    y = np.arange(40) % 2
    np.savez(tmp_path / "far.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    words = ["data=npz", f"data.root={tmp_path}", "data.file=far.npz", "data.train_size=null", "attack=pgd"]
    with pytest.raises(
        UserError, match="attack=pgd needs images with values from 0 to 1, and these run from"
    ) as refused:
        Experiment.of(settings(*words)).run(None)
    assert len(str(refused.value).splitlines()) == 1
