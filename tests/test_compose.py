"""A config that is put together from plain options is the one that Hydra composes, and passes the same guard."""

import json

import pytest
from conftest import EVERY_OPTION

from dlreg.config import compose as composing
from dlreg.config import plain
from dlreg.config.compose import compose, composed
from dlreg.config.guard import words
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError
from dlreg.study.grid import grid


def plain_choices():
    """Overrides that choose every plain option once, some of each group at a time; of stacks six together."""
    left = {g: [n for group, n in EVERY_OPTION if group == g and plain.picks(*words([f"{g}={n}"]))] for g in GROUPS}
    assert sum(map(len, left.values())) > len(EVERY_OPTION) - 8
    while any(left.values()):
        taken = {g: [left[g].pop(0) for _ in range(6 if GROUPS[g].stack else 1) if left[g]] for g in GROUPS}
        yield [f"{g}=[{','.join(n)}]" if GROUPS[g].stack else f"{g}={n[0]}" for g, n in taken.items() if n]


TOGETHER = [["model=resnet", "norm=group", "reg=l2"], ["norm=none", "model=wrn"], ["optimizer=sam", "data=mnist", "init=zeros"],
            ["model=resnet", "optimizer=sam", "optimizer@optimizer.base=adam", "aug=[flip,crop]"]]  # fmt: skip


def test_plain_options_put_together_are_what_hydra_composes():
    for choice in [*plain_choices(), *TOGETHER]:
        mine, hydras = composed(choice), composing._composed_by_hydra(choice, ())
        assert json.dumps(mine.tree()) == json.dumps(hydras.tree()), choice  # the order of the keys too
        for group in GROUPS:
            assert GROUPS[group].stack or mine.choices[group] == hydras.choices[group], choice


@pytest.mark.parametrize("value", ["outputs=$\\{oc.env\\:HOME\\}", "freeze=[a,{b:$\\{oc.env\\:HOME\\}}]"])
def test_what_a_value_becomes_is_guarded_too(value):
    for refused in (lambda: compose(["reg=l2", value]), lambda: grid(["reg=none,l2", value])):
        with pytest.raises(UserError, match="only another key can be referred to"):
            refused()


def test_values_leave_what_is_kept_alone():
    before = compose(["optimizer=adam"])
    assert compose(["optimizer=adam", "optimizer.lr=0.5", "data.val_size=0.3"]).optimizer["lr"] == 0.5
    assert compose(["optimizer=adam"]) == before


def test_hydra_composes_dlregs_own_once_and_a_users_each_time(tmp_path, monkeypatch):
    compose([])
    (tmp_path / "reg").mkdir()
    mine = tmp_path / "reg" / "mine.yaml"
    for strength in (0.25, 0.5):
        text = compose(["reg=dropout"]).reg["dropout"] | {"p": strength}
        mine.write_text("dropout:\n" + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in text.items()))
        assert compose(["reg=mine"], [str(tmp_path)]).reg["dropout"]["p"] == strength
    monkeypatch.setattr(composing, "hydra", None)
    assert list(compose(["reg=[l2,dropout]", "model=lenet", "seed=7"]).reg) == ["l2", "dropout"]
