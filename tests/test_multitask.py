"""Several tasks at once: one storage or two, the gradient of soft sharing, what is asked, errors of each task."""

import pytest
import torch
import torch.nn.functional as F
from conftest import Silent
from torch import nn
from toy import begun

from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.tasks import QUESTIONS, Tasks
from dlreg.reg.multitask import MultiTask, pairs
from dlreg.run.experiment import Experiment
from dlreg.run.parts import load, make_data
from dlreg.run.reopen import reopen
from dlreg.run.tasks import task_errors


def network():
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)]
    return nn.Sequential(nn.Identity(), nn.Sequential(*layers)).double()


def images(n=7):
    generator = torch.Generator().manual_seed(1)
    y = torch.rand(n, 4, generator=generator, dtype=torch.float64)
    return torch.rand(n, 1, 4, 4, generator=generator, dtype=torch.float64), y / y.sum(1, keepdim=True)


def technique(**changes):
    given = {"tasks": ["parity"], "weights": [0.7], "sharing": "hard", "tie": 0.0} | changes
    return begun(MultiTask(**given))


def made(part):
    part.context.samples = images()[0]
    return part.setup(network()).train()


def test_hard_sharing_is_one_storage_and_soft_sharing_two():
    hard, soft = (made(technique(sharing=sharing, tie=1.0)) for sharing in ("hard", "soft"))
    plain = sum(p.numel() for p in network().parameters())
    assert sum(p.numel() for p in hard.parameters()) == plain + 2 * 6
    assert sum(p.numel() for p in soft.parameters()) == plain + 2 * 6 + (plain - 4 * 6)
    assert len({p.data_ptr() for p in soft.parameters()}) == len(list(soft.parameters()))
    x, _ = images()
    assert torch.equal(hard(x), network()(x)) and torch.equal(soft(x), network()(x))
    for model, moves in ((hard, True), (soft, False)):
        before = model.answer("parity", x)
        with torch.no_grad():
            model[1][1].weight.add_(0.1)
        assert (not torch.equal(model.answer("parity", x), before)) == moves


def test_the_cost_of_a_task_is_its_cross_entropy_on_the_shared_features():
    part = technique()
    model, (x, y) = made(part), images()
    features = model[1][:-1](x)
    outputs = F.linear(features, model.parity_weight, model.parity_bias).log_softmax(1)
    even = y[:, 0] + y[:, 2]
    expected = -0.7 * (even * outputs[:, 0] + (1 - even) * outputs[:, 1]).mean()
    assert torch.isclose(part.penalty(model, x, y, None), expected, rtol=1e-12)


def test_soft_sharing_pulls_by_the_difference_of_the_weights():
    """In closed form: tie (w - v) on the one, tie (v - w) on the other, nothing on heads."""
    part = technique(sharing="soft", tie=0.3)
    model, (x, y) = made(part), images()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    params = dict(model.named_parameters())

    def gradients(tie):
        part.tie = tie
        model.zero_grad()
        (part.penalty(model, x, y, None) + 0.0 * model(x).sum()).backward()
        return {name: p.grad.clone() for name, p in params.items()}

    free, tied = gradients(0.0), gradients(0.3)
    for name in ("1.1.weight", "1.1.bias", "1.3.weight", "1.3.bias"):
        other = f"parity_{name.replace('.', '_')}"
        pull = 0.3 * (params[name] - params[other])
        assert torch.allclose(tied[name] - free[name], pull, atol=1e-14)
        assert torch.allclose(tied[other] - free[other], -pull, atol=1e-14)
    for name in ("1.5.weight", "1.5.bias", "parity_weight", "parity_bias"):
        assert torch.equal(tied[name], free[name])


def test_what_is_asked():
    x, _ = images(200)
    y = torch.eye(5, dtype=x.dtype)[torch.arange(200) % 5]
    generator = torch.Generator().manual_seed(0)
    same, targets = QUESTIONS["parity"].ask(x, y, generator)
    assert same is x and torch.equal(targets.argmax(1), torch.arange(200) % 5 % 2)
    turned, targets = QUESTIONS["rotation"].ask(x, y, generator)
    assert targets.sum(0).min() > 30
    for i, k in enumerate(targets.argmax(1)):
        assert torch.equal(turned[i], x[i].rot90(int(k), (1, 2)))


@pytest.mark.parametrize("sharing", ["hard", "soft"])
def test_errors_of_each_task_stand_in_the_result(sharing, settings):
    """By hand, of the last and of the best weights, and again of the run opened anew."""
    words = ["reg=[dropout,multitask]", "reg.multitask.tasks=[parity,rotation]", "reg.multitask.weights=[1,0.5]"]
    chosen = settings(*words, f"reg.multitask.sharing={sharing}", "optimizer=adam", "epochs=4", "norm=batch")
    experiment = Experiment.of(chosen)
    result = experiment.run(Silent())
    assert result.status == "done", result.message
    data = make_data(chosen, load(chosen.data))
    test = data.test.open()
    for select in ("last", "best_val"):
        model = reopen(experiment.folder, select).model
        assert isinstance(model, Tasks)
        with torch.no_grad():
            said = model.answer("parity", to_unit(test.x)).argmax(1)
        assert result.test[select]["parity_error"] == float((said != test.y % 2).double().mean()) < 0.5
        assert task_errors(model, test, 10)["rotation_error"] == result.test[select]["rotation_error"]
        assert {"parity_error", "rotation_error"} <= result.val[select].keys()


def test_a_committee_answers_each_task_together(settings):
    """By the mean of its members' probabilities, as it answers which class."""
    chosen = settings("reg=[ensemble,multitask]", "reg.ensemble.k=2", "reg.multitask.tasks=[parity]", "epochs=2")
    experiment = Experiment.of(chosen)
    result, test = experiment.run(Silent()), make_data(chosen, load(chosen.data)).test.open()
    members = reopen(experiment.folder, "last").model.members
    with torch.no_grad():
        said = sum(member.eval().answer("parity", to_unit(test.x)).softmax(1) for member in members).argmax(1)
    assert len(members) == 2
    assert result.test["last"]["parity_error"] == float((said != test.y % 2).double().mean())


@pytest.mark.parametrize(
    "words", [["reg.multitask.sharing=soft", "reg.multitask.tie=0.1", "norm=batch"], ["reg.multitask.tasks=[rotation]"]]
)
def test_killed_and_continued_is_bit_identical(words, settings):
    class Killer(Silent):
        def epoch(self, row):
            raise KeyboardInterrupt

    common = ["reg=[multitask,dropout]", *words]
    whole = Experiment.of(settings(*common))
    assert whole.run(Silent()).status == "done"
    expected = (whole.folder / "weights").read_bytes()
    again = Experiment.of(settings(*common, "rerun=true"))
    with pytest.raises(KeyboardInterrupt):
        again.run(Killer())
    assert Experiment.of(settings(*common)).run(Silent()).status == "done"
    assert (whole.folder / "weights").read_bytes() == expected


def test_a_copy_has_a_trunk_of_its_own():
    """As the weights of the best epoch are kept."""
    import copy

    model = made(technique(sharing="soft", tie=1.0))
    other, (x, _) = copy.deepcopy(model), images()
    before = model.answer("parity", x)
    with torch.no_grad():
        for _, w in pairs(other, "parity"):
            w.add_(1.0)
    assert torch.equal(model.answer("parity", x), before) and not torch.equal(other.answer("parity", x), before)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.answer("parity", x), before)


SHARE_NOTHING = [
    ["model=linear"],
    ["freeze=[layers.1]"],
    ["reg.multitask.sharing=soft", "reg.multitask.tie=0"],
]


@pytest.mark.parametrize("words", SHARE_NOTHING)
def test_tasks_that_share_nothing_are_remarked_on(words, run):
    """And are without effect: the classes are learnt as they are alone."""
    shared, alone = run("reg=multitask", *words), run(*(word for word in words if "multitask" not in word))
    assert "multitask changed nothing: the tasks share no layer that is trained" in shared.remarks
    assert {k: shared.test["last"][k] for k in alone.test["last"]} == alone.test["last"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reg.multitask.weights=[1,1]"], "must be one for each of tasks=[parity], none twice"),
        (["reg.multitask.tasks=[parity,parity]", "reg.multitask.weights=[1,1]"], "none twice"),
        (["reg.multitask.tasks=[colour]"], "must be 'parity' or 'rotation'"),
        (["reg.multitask.tasks=[rotation]", "data=two_moons", "data.train_size=null"], "rotation needs square images"),
        (["data=sine", "loss=mse", "data.train_size=null"], "multitask"),
        (["model=knn"], "multitask acts while a model is trained"),
    ],
)
def test_what_cannot_work_is_refused(words, said, settings):
    with pytest.raises(UserError) as refused:
        Experiment.of(settings("reg=multitask", *words)).run(Silent())
    assert said in str(refused.value) and len(str(refused.value).splitlines()) == 1
