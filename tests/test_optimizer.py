"""What every optimizer does: goes down, resumes, leaves the global stream and other weights alone."""

import copy
import io

import pytest
import torch
from optimizers import DERIVATIVE_FREE, EVERY, OURS, descend, gentle, make, node, rosenbrock, weights


@pytest.mark.parametrize("name", EVERY)
def test_rosenbrock(name):
    """(1 - x)^2 + 10 (y - x^2)^2 from (-1, 1.5), where it is 6.5: how soon it is small."""
    torch.manual_seed(0)
    w, loss = rosenbrock()
    optimizer, small = (
        make(name, [w], **gentle(name)),
        {"adadelta": 0.5, "annealing": 0.05, "evolution": 0.05}.get(name, 1e-3),
    )
    assert loss() == 6.5
    steps = {"evolution": 800, "coordinate_descent": 300}.get(name, 2000)
    assert any(descend(optimizer, loss, 50)[-1] < small for _ in range(steps // 50))


@pytest.mark.parametrize("name", EVERY)
def test_state_dict_round_trip_continues_bit_identically(name):
    """Six steps, or three, through a file, and three, in the precision that runs have."""
    (w, loss), (cut, cut_loss) = rosenbrock(dtype=torch.float32), rosenbrock(dtype=torch.float32)
    torch.manual_seed(5)
    descend(make(name, [w], **gentle(name)), loss, 6)
    torch.manual_seed(5)
    first = make(name, [cut], **gentle(name))
    descend(first, cut_loss, 3)
    file = io.BytesIO()
    torch.save({"weights": cut.detach(), "optimizer": first.state_dict()}, file)
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    torch.manual_seed(77)  # another process
    again, again_loss = rosenbrock(dtype=torch.float32)
    second = make(name, [again], **gentle(name))
    second.load_state_dict(saved["optimizer"])
    with torch.no_grad():
        again.copy_(saved["weights"])
    descend(second, again_loss, 3)
    assert torch.equal(again, w)
    assert not torch.equal(again, cut)


@pytest.mark.parametrize("name", [n for n in EVERY if n != "lbfgs"])  # torch's L-BFGS cannot be copied
def test_deepcopy_carries_the_state(name):
    w, loss = rosenbrock(dtype=torch.float32)
    torch.manual_seed(5)
    optimizer = make(name, [w], **gentle(name))
    descend(optimizer, loss, 3)
    copied = copy.deepcopy(optimizer)
    twin = copied.param_groups[0]["params"][0]
    assert twin is not w and torch.equal(twin, w)
    descend(optimizer, loss, 3)
    descend(copied, lambda: (1 - twin[0]) ** 2 + 10 * (twin[1] - twin[0] ** 2) ** 2, 3)
    assert torch.equal(twin, w)


@pytest.mark.parametrize("name", EVERY)
def test_the_global_stream_is_left_alone_and_the_seed_matters_where_numbers_are_drawn(name):
    ends = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        params = weights(0, ((3, 2),))
        a = torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        a = a @ a.T + torch.eye(6)
        before = torch.get_rng_state()
        optimizer = make(name, params)
        descend(optimizer, lambda p=params[0], a=a: p.view(-1) @ a @ p.view(-1) / 2, 3)
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(params[0].detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2]) == (name not in ("adahessian", *DERIVATIVE_FREE))


@pytest.mark.parametrize("name", OURS)
def test_a_group_has_a_rate_of_its_own(name):
    """With lr = 0 in the second group its weights stay, and the first group's move."""
    first, second = weights(0, ((2,), (2,)))
    optimizer = make(name, [first], **OURS[name])
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [second], "lr": 0.0})
    if name == "coordinate_descent":
        optimizer.param_groups[0]["line_search"] = "backtracking"  # the exact search has no use for lr
    start = [first.detach().clone(), second.detach().clone()]
    descend(optimizer, lambda: (first**2).sum() + (second**2).sum() / 2 + first[0] * second[0] / 3, 3)
    assert not torch.equal(first, start[0])
    assert torch.equal(second, start[1])


@pytest.mark.parametrize("name", [n for n in ("sam", *OURS) if n not in DERIVATIVE_FREE])
def test_sparse_gradients_are_refused(name):
    w = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = make(name, [w], **OURS.get(name, {}))

    def closure():
        w.grad = torch.eye(3, 2).to_sparse()
        return torch.tensor(1.0)

    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        optimizer.step(closure)
    assert torch.equal(w, torch.ones(3, 2))


@pytest.mark.parametrize("name", [n for n in EVERY if n not in DERIVATIVE_FREE])
def test_a_weight_that_the_loss_does_not_reach_stays(name):
    used, idle = weights(0, ((2, 2), (2, 2)))
    start = idle.detach().clone()
    options = {"weight_decay": 0.0} if "weight_decay" in node(name) else {}
    descend(make(name, [used, idle], **options), lambda: (used**2).sum(), 2)
    assert torch.equal(idle, start)
    assert used.isfinite().all()
