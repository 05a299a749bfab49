"""The short way to torch's fused kernels: its own step's bits, and its own step wherever something is not plain."""

import copy

import pytest
import torch
from torch import nn, optim

from dlreg.optimizer import kernels
from dlreg.optimizer.kernels import lean

RULES = {
    "sgd": lambda params: optim.SGD(params, lr=0.1, fused=True),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, fused=True),
    "nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "adam": lambda params: optim.Adam(params, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1, fused=True),
    "amsgrad": lambda params: optim.Adam(params, lr=0.01, amsgrad=True, fused=True),
    "adamw": lambda params: optim.AdamW(params, lr=0.01, weight_decay=0.1, fused=True),
}


def pair(rule):
    """Two equal networks, one with torch's optimizer and one with the short way."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    nets = [net, copy.deepcopy(net)]
    groups = [[{"params": n[0].parameters(), "lr": 0.02}, {"params": n[2].parameters()}] for n in nets]
    return nets, [rule(groups[0]), lean(rule(groups[1]))]


def backward(net, optimizer, seed, left_out=()):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(seed))

    def closure():
        optimizer.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        for i, p in enumerate(net.parameters()):
            p.grad = None if i in left_out else p.grad
        return loss

    return closure


@pytest.fixture
def calls(monkeypatch):
    """How often the short way was taken for a group."""
    found = []
    for kind, (kernel, kept) in kernels.KERNELS.items():
        counted = lambda *args, kernel=kernel: (found.append(1), kernel(*args))  # noqa: E731
        monkeypatch.setitem(kernels.KERNELS, kind, (counted, kept))
    return found


@pytest.mark.parametrize("name", RULES)
def test_the_bits_of_torchs_step(name, calls):
    nets, optimizers = pair(RULES[name])
    for step in range(6):
        losses = [o.step(backward(n, o, step)) for n, o in zip(nets, optimizers, strict=True)]
        assert torch.equal(*losses)
        if step == 3:  # a resumed fit goes on with what was loaded
            optimizers[1].load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
    states = [o.state_dict()["state"] for o in optimizers]
    for index, state in states[0].items():
        assert all(torch.equal(value, states[1][index][key]) for key, value in state.items() if value is not None)
    assert len(calls) >= 2 * 5  # the first step makes the states


@pytest.mark.parametrize("name", RULES)
def test_a_weight_without_a_gradient_is_left_to_torch(name, calls):
    nets, optimizers = pair(RULES[name])
    for step, left_out in enumerate([(), (1,), (0, 1, 2, 3), ()]):
        before = len(calls)
        for n, o in zip(nets, optimizers, strict=True):
            o.step(backward(n, o, step, left_out))
        assert not left_out or len(calls) == before
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_a_step_without_a_closure_takes_the_gradients_that_are_there():
    nets, optimizers = pair(RULES["adam"])
    for n, o in zip(nets, optimizers, strict=True):
        for step in range(3):
            backward(n, o, step)()
            o.step()
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


@pytest.mark.parametrize(("fused", "dtype"), [(False, torch.float32), (True, torch.float64)])
def test_what_is_not_fused_or_has_two_precisions_is_left_to_torch(fused, dtype, calls):
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, dtype=dtype))]
    twins = copy.deepcopy(weights)
    optimizers = [optim.Adam(twins, fused=fused), lean(optim.Adam(weights, fused=fused))]
    for _ in range(3):
        for p in [*weights, *twins]:
            p.grad = torch.full_like(p, 0.5)
        for optimizer in optimizers:
            optimizer.step()
    assert not calls
    assert all(torch.equal(a, b) for a, b in zip(weights, twins, strict=True))
