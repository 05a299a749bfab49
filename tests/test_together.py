"""What happens when options meet: every optimizer with every technique, who decides the weights, what is refused first."""

import itertools

import pytest
import torch
from conftest import CLOSED_FORM, Silent
from torch import nn
from toy import begun

from dlreg.config.build import locate
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.context import Progress
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import acting, plain_name, weight_layers, weights
from dlreg.norm.weights import weight
from dlreg.reg.additive import WeightNoise
from dlreg.reg.averages import gather_statistics
from dlreg.reg.base import Regularizer
from dlreg.reg.l0 import L0
from dlreg.reg.maxnorm import Constraint
from dlreg.reg.penalties import WeightPenalty
from dlreg.reg.stochastic_depth import StochasticDepth
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.fitter import Fitter
from dlreg.run.loop import forward, train_step
from dlreg.run.rehearse import rehearse

TINY = ("epochs=2", "batch_size=full", "data.train_size=32", "data.labelled=24", "data.val_size=16", "model.hidden=[6]")
REGS = [word for word in options("reg") if word != "none"]
ORDER_0 = ("annealing", "evolution", "random_search")
STEPWISE = sorted(set(options("optimizer")) - set(CLOSED_FORM))
FEW = {  # what an optimizer does many times in a step, done few times
    "coordinate_descent": ["optimizer.coordinates=1"],
    "evolution": ["optimizer.pairs=2"],
    "lbfgs": ["optimizer.max_iter=2"],
    "annealing": ["optimizer.trials=2"],
    "random_search": ["optimizer.trials=2"],
    "newton": ["optimizer.max_params=100000"],
}


def acts_by(verb):
    """The regularizers of the catalogue that override this verb."""
    found = {word: locate("reg", {"_target_": _target(word)}) for word in REGS}
    return [word for word, kind in found.items() if getattr(kind, verb) is not getattr(Regularizer, verb)]


def _target(word):
    return next(line.split()[1] for line in options("reg")[word].read_text().splitlines() if "_target_" in line)


@pytest.fixture(scope="module")
def catalogue():
    """The node of every regularizer."""
    small = {word: [f"reg.{word}.k=2"] for word in ("bagging", "ensemble", "mc_dropout")}
    small["manifold_tangent"] = ["reg.manifold_tangent.epochs=1", "reg.manifold_tangent.hidden=10"]
    return {word: compose([f"reg={word}", *small.get(word, [])]).reg for word in REGS}


def made(chosen):
    """(parts, data) of one fit."""
    data = parts.make_data(chosen, parts.load(chosen.data))
    return parts.make_parts(chosen, data, chosen.seed), data


def fitted(chosen):
    """Train as a run does. Returns (Fitted, remarks)."""
    experiment = Experiment.of(chosen)
    experiment.folder.mkdir(parents=True)
    data = parts.make_data(chosen, parts.load(chosen.data))
    rehearse(chosen, data)
    fitter, chain = Fitter(chosen, experiment.folder, Silent()), parts.make_chain(chosen)
    chain.begin("chain", made(chosen)[0].context)
    return chain.train(fitter, data), fitter.remarks


def tensors(model):
    return list(model.state_dict().values())


ON_WEIGHTS = [
    word for word in REGS if issubclass(locate("reg", {"_target_": _target(word)}), WeightPenalty | Constraint)
]
DISGUISES = {
    "norm=weight": lambda model: [weight(layer) for layer in (model[0], model[2])],
    "weight_noise": lambda model: begun(WeightNoise(sigma=0.3), model=model),
    "l0": lambda model: begun(L0(alpha=1.0, start=0.7), model=model),
    "norm=weight and noise": lambda model: [DISGUISES["norm=weight"](model), DISGUISES["weight_noise"](model)],
}


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def values(model):
    return [w.value.detach().clone() for w in acting(model)]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("word", ON_WEIGHTS)
def test_penalties_and_constraints_act_on_the_weights_that_act(word, biases, disguise, catalogue):
    """The same as on a plain network whose weights are those that the disguised one works with."""
    hidden, plain = small_net(), small_net()
    DISGUISES[disguise](hidden)
    with torch.no_grad():
        for w in acting(hidden):
            w.parameter.mul_(1 + torch.rand_like(w.parameter))
        for p, value in zip(plain.parameters(), [values(hidden)[i] for i in _order(hidden, plain)], strict=True):
            p.copy_(value)
    node = {k: v for k, v in catalogue[word][word].items() if k != "_target_"}
    node |= {"biases": biases} if "biases" in node else {"c": 0.5}
    found = []
    for model in (hidden, plain):
        part = begun(locate("reg", catalogue[word][word])(**node), model=model.train())
        part.context.lr, part.context.progress = 0.1, Progress(1, 2, 2)
        with torch.no_grad():
            for w in acting(model) if word == "l2_to" else []:
                w.parameter.mul_(1.5)
        part.batch(model, None, None)
        part.project(model)  # so that the multiplier of a Lagrangian is not 0
        part.context.progress = Progress(2, 3, 3)
        loss = torch.as_tensor(part.penalty(model, None, None, None)).double()
        part.batch(model, None, None)
        part.project(model)
        found.append((loss.detach(), values(model)))
    assert torch.isclose(found[0][0], found[1][0], rtol=1e-12)
    for ours, place in zip(found[1][1], _order(hidden, plain), strict=True):
        assert torch.allclose(ours, found[0][1][place], rtol=1e-12, atol=1e-15)


def _order(hidden, plain):
    """Where the plain network's tensors are among the hidden one's: parametrized weights come after the biases."""
    names = [plain_name(w.name) for w in acting(hidden)]
    return [names.index(plain_name(w.name)) for w in acting(plain)]


@pytest.mark.parametrize("noise", ["weight_noise", "l0"])
@pytest.mark.parametrize("norm", sorted(options("norm")))
def test_a_noisy_weight_is_drawn_once_in_a_pass(norm, noise, settings):
    """However often layer, norm and penalty ask for it."""
    made_parts, data = made(settings(*TINY, f"norm={norm}", f"reg=[{noise},l2]"))
    drawn = []
    for layer in weight_layers(made_parts.model):
        layer.parametrizations.weight[-1].register_forward_hook(lambda *_, layer=layer: drawn.append(layer))
    x, y = to_unit(data.train.x), torch.eye(data.classes)[data.train.y]
    made_parts.context.begin_epoch(0)
    made_parts.reg.parts["l2"].alpha = 0.0
    forward(made_parts, x, y)
    assert drawn == weight_layers(made_parts.model)


DECIDERS = ("ema", "swa", "early_stopping")


def test_the_deciders_are_all_that_finish_replaces_the_weights_by():
    assert set(acts_by("decides")) == set(DECIDERS)


@pytest.mark.parametrize("pair", list(itertools.permutations(DECIDERS, 2)))
def test_the_last_listed_decides_the_weights_and_the_other_is_remarked_on(pair, settings):
    """No early stop here, so the way is the same: the final weights are bit for bit those of the last option alone."""
    common = ("epochs=4", "norm=batch", "optimizer.lr=1")  # so large that the last epoch is not the best
    more = {"early_stopping": ["reg.early_stopping.patience=99"], "swa": ["reg.swa.start=0.5"], "ema": []}
    both, remarks = fitted(settings(f"reg=[{','.join(pair)}]", *common, *more[pair[0]], *more[pair[1]]))
    alone, silent = fitted(settings(f"reg={pair[1]}", *common, *more[pair[1]]))
    assert all(torch.equal(a, b) for a, b in zip(tensors(both.last), tensors(alone.last), strict=True))
    text = f"{pair[0]} did not decide the final weights: {pair[1]} is listed after it"
    assert text in remarks and not any("did not decide" in remark for remark in silent)


@pytest.mark.parametrize("words", [["swa"], *itertools.permutations(["swa", "bagging"]), ["swa", "mc_dropout"],
                                   ["mc_dropout", "swa"], ["swa", "ensemble"], ["ensemble", "swa"]], ids="+".join)  # fmt: skip
def test_every_fit_returns_the_statistics_that_belong_to_its_weights(words, settings, monkeypatch):
    """At the moment a fit returns, before any technique around it looks at the model: one pass, nothing masked."""
    small = [f"reg.{word}.k=2" for word in words if word in ("bagging", "ensemble", "mc_dropout")]
    chosen = settings(f"reg=[{','.join(words)}]", *small, "norm=batch", "epochs=2", "reg.swa.start=0")
    plain, _ = made(settings("reg=none", "norm=batch"))
    call, checked = Fitter.__call__, []

    def checking(self, data, **options):
        found = call(self, data, **options)
        plain.model.load_state_dict(found.last.state_dict())
        gather_statistics(plain.model, data.train.x)
        checked.append(all(torch.equal(a, b) for a, b in zip(tensors(plain.model), tensors(found.last), strict=True)))
        return found

    monkeypatch.setattr(Fitter, "__call__", checking)
    fitted(chosen)
    assert checked and all(checked)


CONSTRAINTS = ("maxnorm", "norm_ball")


@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("other", [word for word in acts_by("project") if word not in CONSTRAINTS])
def test_constraints_hold_whatever_else_acts_after_the_step(constraint, other, settings):
    """In either order, of the last weights and of what `finish` makes of them."""
    more = {"weight_decay": ["reg.weight_decay.alpha=0.9"], "l1": ["reg.l1.form=proximal"]}.get(other, [])
    models = []
    for order in ([constraint, other], [other, constraint]):
        words = [f"reg=[{','.join(order)}]", f"reg.{constraint}.c=0.2", "optimizer.lr=0.5", *more]
        models.append(fitted(settings(*words))[0].last)
        rows = [w.value.flatten(1).norm(dim=1) for w in weights(models[-1])]
        longest = torch.cat(rows).max() if constraint == "maxnorm" else torch.cat(rows).norm()
        assert longest <= 0.2 * (1 + 1e-6)
    assert all(torch.equal(a, b) for a, b in zip(*map(tensors, models), strict=True))


@pytest.mark.parametrize("optimizer", STEPWISE)
def test_decoupled_decay_is_the_same_beside_every_optimizer(optimizer, settings):
    """Over one update: w_(t+1) with the decay is w_(t+1) without it, minus lr alpha w_t."""
    found = {}
    for reg in ("none", "weight_decay"):
        chosen = settings(*TINY, f"optimizer={optimizer}", f"reg={reg}", "epochs=1")
        made_parts, data = made(chosen)
        before = [w.parameter.detach().clone() for w in weights(made_parts.model)]
        steps(made_parts, data, 1)
        found[reg] = [w.parameter.detach() for w in weights(made_parts.model)]
    lr = made_parts.optimizer.param_groups[0]["lr"]
    for w, plain, decayed in zip(before, *found.values(), strict=True):
        assert (plain - lr * 0.01 * w - decayed).abs().max() < 1e-6


def steps(made_parts, data, n):
    """`n` updates on the whole training set."""
    made_parts.context.begin_epoch(0)
    made_parts.model.train()
    for step in range(n):
        made_parts.context.progress = Progress(step, n, n)
        made_parts.context.lr = made_parts.optimizer.param_groups[0]["lr"]
        x, y = to_unit(data.train.x), torch.eye(data.classes)[data.train.y]
        train_step(made_parts, x, y)


@pytest.mark.parametrize("words", [("schedule=plateau", "reg=early_stopping", "reg.early_stopping.retrain=steps")])
def test_what_a_later_fit_cannot_do_is_refused_before_the_first(words, settings):
    """The rehearsal runs `train` too: here the second fit has no validation set."""
    chosen = settings(*words)
    with pytest.raises(UserError, match="schedule=plateau watches the validation loss"):
        Experiment.of(chosen).run(Silent())
    assert not Experiment.of(chosen).folder.exists()


@pytest.mark.parametrize("optimizer", STEPWISE)
def test_a_rehearsal_meets_the_step_that_comes_now_and_then(optimizer, settings, monkeypatch):
    """A dropped branch among them: an optimizer that cannot bear a weight without a graph is found before the run."""
    dropped, init = [], StochasticDepth.gradient
    monkeypatch.setattr(
        StochasticDepth,
        "gradient",
        lambda self, model: (dropped.extend(p for p in model.parameters() if p.grad is None), init(self, model)),
    )
    small = ["model=resnet", "model.depth=8", "model.width=1", "data.train_size=16", "epochs=1", "batch_size=full"]
    words = [f"optimizer={optimizer}", *FEW.get(optimizer, [])]
    chosen = settings(*small, *words, "reg=stochastic_depth", "reg.stochastic_depth.survival=0.999")
    rehearse(chosen, parts.make_data(chosen, parts.load(chosen.data)))
    assert dropped or optimizer in ORDER_0


@pytest.mark.parametrize("optimizer", STEPWISE)
def test_every_optimizer_with_every_technique_acts_or_is_refused_before_any_work(optimizer, settings, catalogue):
    """What the rehearsal lets through trains; what acts through `gradient` is refused where no gradient is taken."""
    words = [*FEW.get(optimizer, []), f"optimizer={optimizer}", "norm=batch", "model.hidden=[2]"]
    refused, base = [], settings(*TINY, *words)
    data = parts.make_data(base, parts.load(base.data))
    for word, node in catalogue.items():
        chosen = base.model_copy(update={"reg": node})
        try:
            rehearse(chosen, data)
        except UserError as error:
            refused.append(word)
            assert word in str(error) and optimizer in str(error)
            continue
        fit_parts = parts.make_parts(chosen, data, 0)
        steps(fit_parts, data, 2)
        assert fit_parts.reg.remarks() is not None
    assert refused == (["clip_norm", "clip_value"] if optimizer in ORDER_0 else [])
