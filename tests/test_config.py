"""Bad values are refused before any work, in one line that names the key, what was given and what is allowed."""

import copy
import math

import pytest
import torch
from conftest import EVERY_OPTION

from dlreg.config.allowed import allowed
from dlreg.config.build import build
from dlreg.config.check import settings as check
from dlreg.config.compose import compose
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError
from dlreg.hyper import DropProb, Widths

REFUSED = {
    "optimizer=adm": "optimizer=adm: there is no such option. Did you mean adam?",
    "reg=[dropuot]": "reg=dropuot: there is no such option. Did you mean dropout?",
    "optimzer=adam": "optimzer: there is no such key. Did you mean optimizer?",
    "+optimzer=adam": "optimzer: there is no such key. Did you mean optimizer?",
    "optimizer=momentum optimizer.momntum=0.8": (
        "optimizer.momntum: there is no such key. Did you mean momentum? Allowed: lr, momentum"
    ),
    "optimizer=momentum +optimizer.momntum=0.8": "optimizer.momntum: there is no such key. Did you mean momentum?",
    "reg=dropout +reg.dropout.q=1": "reg.dropout.q: there is no such key. Allowed: p, input_p, conv_p.",
    "+reg.dropout.pp=1 reg=dropout": "reg.dropout.pp: there is no such key. Did you mean p? Allowed: p, input_p, conv_p.",
    "lr=1": "lr: there is no such key. Write optimizer.lr=...",
    "reg.dropout.p=0.1": "reg.dropout: this run has no dropout; add reg=dropout",
    "reg=dropout reg.dropout.p=1.5": "reg.dropout.p=1.5 must be less than 1 (number, >= 0, < 1)",
    "reg=dropout reg.dropout=0.5": "reg.dropout=0.5 must be a valid dictionary",
    "optimizer=[adam,sgd]": "optimizer takes one option, not a list",
    "optimizer.lr=-1": "optimizer.lr=-1 must be greater than 0",
    "optimizer.lr=nan": "optimizer.lr=nan must be a finite number",
    "optimizer.lr=inf": "optimizer.lr=inf must be a finite number",
    "optimizer.lr=abc": "optimizer.lr=abc must be a valid number",
    "optimizer.lr=": "optimizer.lr= must be a valid number",
    "optimizer.lr=null": "optimizer.lr=None must be a valid number",
    "optimizer.lr=true": "optimizer.lr=True must be a valid number",
    "optimizer=adam optimizer.betas=[0.9]": "optimizer.betas=[0.9] must have at least 2 items, not 1",
    "optimizer=adam optimizer.betas=[0.9,1.0]": "optimizer.betas[1]=1.0 must be less than 1",
    "model.hidden=5": "model.hidden=5 must be a valid list",
    "model.hidden=[3,-1]": "model.hidden[1]=-1 must be greater than or equal to 1",
    "model.activation=reul": "model.activation=reul must be 'relu'",
    "epochs=0": "epochs=0 must be greater than or equal to 1",
    "epochs=1.5": "epochs=1.5 must be a valid integer",
    "seed=-1": "seed=-1 must be greater than or equal to 0",
    "seed=1.5": "seed=1.5 must be a valid integer",
    "batch_size=0": "batch_size=0 must be greater than or equal to 1 or must be 'full'",
    "sampler=shufle": "sampler=shufle must be 'shuffle'",
    "precision=fp8": "precision=fp8 must be 'fp32'",
    "device=gpu": "device=gpu must match pattern",
    "outputs=''": "outputs= must have at least 1 character",
    "data.val_size=1.5": "data.val_size=1.5 must be less than 1",
    "data.normalize=foo": "data.normalize=foo must be 'none'",
    "schedule.warmup=-1": "schedule.warmup=-1 must be greater than or equal to 0",
    "optimizer._target_=os.system": "_target_='os.system' is not allowed",
    "optimizer._target_=dlreg.config.os.system": "cannot be imported",
    "optimizer._target_=dlreg.reg.dropout.Dropout": "is not an option of optimizer, which holds Optimizers",
    "optimizer._target_=torch.optim.lr_scheduler.StepLR": "is not an option of optimizer",
    "optimizer._target_=torch.nn.Linear": "is not an option of optimizer",
    "optimizer._target_=pathlib.Path": "is not allowed",
    "optimizer._target_='dlreg..x'": "must be a dotted path",
    "model._target_=dlreg.model.mlp.nn.Linear": "cannot be imported",
    "init._target_=dlreg.durable.previous": "is not an option of init",
}


@pytest.mark.parametrize(("overrides", "message"), REFUSED.items(), ids=list(REFUSED))
def test_refused(overrides, message):
    with pytest.raises(UserError) as refusal:
        compose(overrides.split())
    assert message in str(refusal.value)
    assert "Traceback" not in str(refusal.value)


def test_a_slip_of_the_pen_is_refused_and_in_no_range():
    """A limit that no one comes near says nothing on a card."""
    assert allowed(Widths) == "list of (whole number, >= 1)"
    assert allowed(DropProb) == "number, >= 0, < 1"
    with pytest.raises(UserError, match=r"must be less than or equal to 1000000000$"):
        compose(["epochs=10000000000"])


def test_every_number_refuses_what_is_none():
    """The table of bad values comes from the options on disk, so a new option is covered the day it is added."""
    tried = 0
    for group, name in EVERY_OPTION:
        whole = compose([f"{group}={name}"]).model_dump()
        stack = GROUPS[group].stack
        for word, node in (whole[group] if stack else {"": whole[group]}).items():
            for key in [k for k, v in node.items() if isinstance(v, float)]:
                for bad in (math.nan, math.inf, "text", [1.0]):
                    tried += 1
                    tree = copy.deepcopy(whole)
                    (tree[group][word] if stack else tree[group])[key] = bad
                    with pytest.raises(
                        UserError, match=rf"^{'.'.join(filter(None, (group, word, key)))}\S*="
                    ) as refusal:
                        check(tree)
                    assert len(str(refusal.value).splitlines()) == 1
    assert tried > 100


def test_all_problems_are_told_at_once():
    with pytest.raises(UserError) as refusal:
        compose(["optimizer.lr=-1", "reg=dropout", "reg.dropout.p=2"])
    assert len(str(refusal.value).splitlines()) == 2


def test_whole_numbers_become_numbers():
    assert compose(["optimizer.lr=1"]).optimizer["lr"] == 1.0
    assert isinstance(compose(["optimizer.lr=1"]).optimizer["lr"], float)


def test_stacking():
    chosen = compose(["reg=[dropout,maxnorm]", "reg.dropout.p=0.3"])
    assert list(chosen.reg) == ["dropout", "maxnorm"]
    assert chosen.reg["dropout"]["p"] == 0.3
    assert compose(["reg=[]"]).reg == compose(["reg=none"]).reg == compose([]).reg == {}


def test_a_model_brings_its_own_norm_unless_told_otherwise():
    assert compose(["model=resnet"]).norm["name"] == "batch"
    assert compose(["model=resnet", "norm=none"]).norm["name"] == "none"
    assert compose(["model=mlp"]).norm["name"] == "none"


def test_torch_classes_can_be_named_directly():
    node = {"_target_": "torch.optim.SGD", "name": "mine", "lr": 0.1, "momentum": 0.5}
    optimizer = build("optimizer", node)([torch.nn.Parameter(torch.zeros(2))])
    assert optimizer.defaults["momentum"] == 0.5


@pytest.mark.parametrize("rate", [0.0, -1.0])
@pytest.mark.parametrize("target", ["torch.optim.SGD", "torch.optim.Adafactor", "dlreg.optimizer.sgd.sgd"])
def test_a_rate_is_above_zero_whoever_wrote_the_optimizer(target, rate, settings):
    """torch's own classes take 0, and refuse -1 in words of their own when they are built."""
    tree = settings().model_dump() | {"optimizer": {"_target_": target, "name": "mine", "lr": rate}}
    with pytest.raises(UserError, match=rf"^optimizer\.lr={rate} must be greater than 0$"):
        check(tree)


def test_plugins_and_config_dir(tmp_path, monkeypatch):
    (tmp_path / "mytricks.py").write_text(
        "from dlreg.hyper import NonNegative\n"
        "from dlreg.reg.base import Regularizer\n"
        "class GradientNoise(Regularizer):\n"
        "    def __init__(self, *, sigma: NonNegative) -> None:\n"
        "        self.sigma = sigma\n"
        "    def gradient(self, model):\n"
        "        pass\n"
    )
    (tmp_path / "conf" / "reg").mkdir(parents=True)
    (tmp_path / "conf" / "reg" / "gradient_noise.yaml").write_text(
        "# Noise on gradients\ngradient_noise:\n  _target_: mytricks.GradientNoise\n  sigma: 0.1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["reg=[dropout,gradient_noise]", "reg.gradient_noise.sigma=0.2"]
    with pytest.raises(UserError, match=r"mytricks\.GradientNoise.*is not allowed.*DLREG_PLUGINS"):
        compose(words, ["conf"])
    monkeypatch.setenv("DLREG_PLUGINS", "mytricks")
    chosen = compose(words, ["conf"])
    assert build("reg", chosen.reg["gradient_noise"]).sigma == 0.2
    with pytest.raises(UserError, match=r"sigma=-1 must be greater than or equal to 0"):
        compose([*words[:1], "reg.gradient_noise.sigma=-1"], ["conf"])
