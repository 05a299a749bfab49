"""The loop: what it computes, in which order it calls the verbs, when it gives up."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from torch import nn
from toy import Memory

from dlreg.context import Context
from dlreg.data.base import Data, SealedTest, Split
from dlreg.errors import Diverged
from dlreg.reg.base import Chain, Regularizer
from dlreg.run.batches import batches
from dlreg.run.evaluate import evaluate
from dlreg.run.loop import Loop, Parts, fit, train_step

CPU = torch.device("cpu")


def toy(n=50, val=20, classes=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n + val, 4, generator=generator)
    y = torch.randint(classes, (n + val,), generator=generator)
    splits = Split(x[:n], y[:n]), Split(x[n:], y[n:])
    return Data(*splits, SealedTest(splits[1]), classes, torch.zeros(()), nn.Identity())


def fit_toy(
    parts=None, epochs=3, model=None, schedule=lambda t: 1.0, saved=None, save=lambda s: None, data=None, lr=0.1
):
    torch.manual_seed(0)
    model = model or nn.Linear(4, 3)
    context, reg = Context(0, CPU), Chain(parts or {})
    reg.begin("chain", context)
    optimizer = torch.optim.SGD(reg.setup(model).parameters(), lr=lr)
    loop = Loop(epochs, 8, "shuffle", schedule)
    return fit(Parts(model, optimizer, reg, context), data or toy(), loop, Silent(), Memory(saved, save))


def test_an_optimizer_that_ignores_its_closure_is_named():
    class Deaf(torch.optim.SGD):
        def step(self, closure=None):
            pass

    model = nn.Linear(4, 3)
    parts = Parts(model, Deaf(model.parameters()), Chain({}), Context(0, CPU))
    with pytest.raises(TypeError, match="does not call the closure"):
        train_step(parts, torch.randn(5, 4), F.one_hot(torch.arange(5) % 3, 3).float())


def test_equals_a_loop_written_by_hand():
    data, fitted = toy(), fit_toy()
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    context = Context(0, CPU)
    for epoch in range(3):
        context.begin_epoch(epoch)
        for index in torch.randperm(50, generator=context.generator("order", "cpu")).split(8):
            optimizer.zero_grad()
            F.cross_entropy(model(data.train.x[index]), F.one_hot(data.train.y[index], 3).float()).backward()
            optimizer.step()
    assert torch.equal(model.weight, fitted.last.weight)


def test_verbs_are_called_in_order():
    calls = []

    class Spy(Regularizer):
        def setup(self, model):
            calls.append("setup")
            return model

        def batch(self, model, x, y):
            calls.append("batch")
            assert y.shape[1] == 3 and torch.allclose(y.sum(1), torch.ones(len(y)))
            return x, y

        def penalty(self, model, x, y, logits):
            calls.append("penalty")
            return 0.0

        def gradient(self, model):
            calls.append("gradient")
            assert model.weight.grad is not None

        def project(self, model):
            calls.append("project")

        def end_epoch(self, model, history):
            calls.append("end_epoch")
            assert history[-1]["val_loss"] > 0
            return len(history) == 2

        def finish(self, model):
            calls.append("finish")
            return model

    fitted = fit_toy({"spy": Spy()}, epochs=9)
    step = ["batch", "penalty", "gradient", "project"]
    assert calls == ["setup", *([*step * 7, "end_epoch"] * 2), "finish"]
    assert len(fitted.history) == 2


def test_train_nests_the_first_outermost():
    calls = []

    class Around(Regularizer):
        def __init__(self, word):
            self.word = word

        def train(self, fit, data):
            calls.append(f"enter {self.word}")
            fitted = fit(data, seed=self.word)
            calls.append(f"leave {self.word}")
            return fitted

    chain = Chain({"a": Around("a"), "b": Around("b")})
    assert chain.train(lambda data, **options: (data, options), "data") == ("data", {"seed": "b"})
    assert calls == ["enter a", "enter b", "leave b", "leave a"]


def test_the_last_epoch_and_the_best_epoch():
    candidates = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(3))

    class Steer(Regularizer):  # each epoch ends at weights of its own
        @torch.no_grad()
        def project(self, model):
            model.weight.copy_(candidates[int(self.context.progress.epoch)])

    fitted = fit_toy({"steer": Steer()}, epochs=6)
    scores = [(row["val_error"], row["val_loss"]) for row in fitted.history]
    best = scores.index(min(scores))
    assert 0 < best < 5
    assert torch.equal(fitted.best_val.weight, candidates[best])
    assert torch.equal(fitted.last.weight, candidates[5])


def test_the_schedule_multiplies_the_base_rate():
    fitted = fit_toy(schedule=lambda t: 1 / (1 + t.step), epochs=2)
    assert [row["lr"] for row in fitted.history] == pytest.approx([0.1 / 7, 0.1 / 14])


def test_progress_counts_every_update_of_every_epoch():
    seen = []
    fit_toy(schedule=lambda progress: seen.append(progress) or 1.0, epochs=3)
    assert [t.step for t in seen] == list(range(21))  # 50 samples in batches of 8
    assert {(t.steps_per_epoch, t.total_steps) for t in seen} == {(7, 21)}


@pytest.mark.parametrize("order", [1, 2])
def test_the_objective_is_the_loss_and_the_penalty_and_so_is_its_gradient(order):
    class Shift(Regularizer):
        def penalty(self, model, x, y, logits):
            return 3.0 * model[0].weight.sum()

    class Plain(torch.optim.SGD):
        def step(self, closure):
            with torch.enable_grad():
                closure()

    x, y = torch.randn(5, 4), F.one_hot(torch.arange(5) % 3, 3).float()
    model = nn.Sequential(nn.Linear(4, 3))
    model.unused = nn.Parameter(torch.zeros(2))
    optimizer = Plain(model.parameters(), lr=0.1)
    optimizer.order = order
    objective, loss, _, _ = train_step(Parts(model, optimizer, Chain({"shift": Shift()}), Context(0, CPU)), x, y)
    weight = model[0].weight.detach().clone().requires_grad_()
    F.cross_entropy(F.linear(x, weight, model[0].bias.detach()), y).backward()
    assert float(objective) == pytest.approx(float(loss) + 3 * float(weight.detach().sum()))
    assert torch.allclose(model[0].weight.grad, weight.grad + 3)
    assert model.unused.grad is None


@pytest.mark.parametrize("where", ["loss", "penalty", "gradient", "weight", "buffer"])
def test_divergence_is_noticed_with_its_step(where):
    class Fault(Regularizer):
        def now(self):
            return self.context.progress.step == 5

        def batch(self, model, x, y):
            return (x * math.nan if where == "loss" and self.now() else x), y

        def penalty(self, model, x, y, logits):
            return torch.tensor(math.inf) if where == "penalty" and self.now() else 0.0

        def gradient(self, model):
            if where == "gradient" and self.now():
                model[0].weight.grad[0, 0] = math.inf

        def project(self, model):
            if where == "weight" and self.context.progress.step == 6:
                model[0].weight.data[0, 0] = math.nan
            if where == "buffer" and self.context.progress.step == 6:
                model[1].running_var[0] = math.inf

    with pytest.raises(Diverged) as diverged:
        fit_toy({"fault": Fault()}, model=nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    assert diverged.value.step == (6 if where in ("gradient", "weight", "buffer") else 5)


def test_samplers():
    context = Context(0, CPU)
    indices = lambda sampler, n=50, size=8: list(batches(sampler, torch.arange(n), size, context))  # noqa: E731
    assert sorted(torch.cat(indices("shuffle")).tolist()) == list(range(50))
    assert torch.cat(indices("cyclic")).tolist() == list(range(50))
    assert len(set(torch.cat(indices("random")).tolist())) < 50
    assert [len(i) for i in indices("shuffle", 17)] == [8, 8]  # a single left-over sample is left out
    assert [len(i) for i in indices("shuffle", 1)] == [1]
    assert [len(i) for i in indices("shuffle", 3, 1)] == [1, 1, 1]


def test_evaluate_against_a_hand_count():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4321, 7, generator=generator)
    y = torch.randint(7, (4321,), generator=generator)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(7, 7))
    found = evaluate(model, Split(x, y))
    model.eval()
    with torch.no_grad():
        logits = model(x)
    assert found["loss"] == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-6)
    assert found["error"] == pytest.approx(float((logits.argmax(1) != y).double().mean()), abs=1e-12)
    rank = (logits > logits.gather(1, y[:, None])).sum(1)
    assert found["top5_error"] == pytest.approx(float((rank >= 5).double().mean()), abs=1e-12)
    assert evaluate(nn.Linear(7, 3), Split(x, y % 3))["top5_error"] is None


def test_optimizer_order_decides_about_derivatives():
    class Probe(torch.optim.SGD):
        def step(self, closure):
            with torch.enable_grad():
                closure()
            self.seen = [p.grad for group in self.param_groups for p in group["params"]]

    x, y = torch.randn(5, 4), F.one_hot(torch.arange(5) % 3, 3).float()
    for order, expected in ((0, "none"), (1, "plain"), (2, "graph")):
        model = nn.Linear(4, 3)
        optimizer = Probe(model.parameters(), lr=0.1)
        optimizer.order = order
        train_step(Parts(model, optimizer, Chain({}), Context(0, CPU)), x, y)
        grads = optimizer.seen
        kind = "none" if grads[0] is None else "graph" if grads[0].requires_grad else "plain"
        assert kind == expected
        for p in model.parameters():
            p.grad = None


def test_a_stopped_fit_does_not_go_on_after_resuming():
    class Stop(Regularizer):
        def end_epoch(self, model, history):
            return True

    states = []
    fit_toy({"stop": Stop()}, save=lambda s: states.append(s))
    again = fit_toy({"stop": Stop()}, saved=states[-1])
    assert len(again.history) == 1
