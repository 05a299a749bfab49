"""Gradient clipping by norm and by value."""

import pytest
import torch
from torch import nn

from dlreg.errors import UserError
from dlreg.reg.clip import ClipNorm, ClipValue


def with_gradients(scale):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)).double()
    for p in model.parameters():
        p.grad = scale * torch.randn_like(p)
    return model, [p.grad.clone() for p in model.parameters()]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


@pytest.mark.parametrize("c", [0.01, 1.0, 7.0])
def test_norm_becomes_c_and_the_direction_stays(c):
    model, before = with_gradients(3.0)
    ClipNorm(c=c).gradient(model)
    after, norm = flat(p.grad for p in model.parameters()), flat(before).norm()
    assert norm > c and abs(float(after.norm()) - c) < 1e-6 * c + 1e-6
    assert (after / after.norm() - flat(before) / norm).abs().max() < 1e-12


@pytest.mark.parametrize("c", [0.01, 1.0, 7.0])
def test_value_clamps_every_component_by_itself(c):
    model, before = with_gradients(3.0)
    ClipValue(c=c).gradient(model)
    expected = [
        torch.minimum(torch.maximum(g, torch.tensor(-c, dtype=g.dtype)), torch.tensor(c, dtype=g.dtype)) for g in before
    ]
    assert torch.equal(flat(p.grad for p in model.parameters()), flat(expected))
    assert flat(expected).abs().max() <= c + 1e-15


@pytest.mark.parametrize("kind", [ClipNorm, ClipValue])
def test_what_is_small_enough_is_left_alone(kind):
    model, before = with_gradients(1e-3)
    kind(c=1.0).gradient(model)
    assert torch.equal(flat(p.grad for p in model.parameters()), flat(before))


@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_a_huge_limit_is_bit_identical_to_none(name, run):
    plain, clipped = run(), run(f"reg={name}", f"reg.{name}.c=1e9")
    assert [r["train_loss"] for r in plain.history] == [r["train_loss"] for r in clipped.history]


@pytest.mark.parametrize("c", ["0", "-1", "nan"])
def test_a_limit_that_is_not_positive_is_refused(c, settings):
    with pytest.raises(UserError, match=r"reg\.clip_value\.c"):
        settings("reg=clip_value", f"reg.clip_value.c={c}")
