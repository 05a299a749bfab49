"""What happens when options meet: every optimizer with every technique, who decides the weights, what is refused first."""

import itertools

import pytest
import torch
from conftest import Silent

from dlreg.config.build import locate
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.context import Progress
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import weights
from dlreg.reg.averages import gather_statistics
from dlreg.reg.base import Regularizer
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.fitter import Fitter
from dlreg.run.loop import train_step
from dlreg.run.rehearse import rehearse

TINY = ("epochs=2", "batch_size=full", "data.train_size=32", "data.val_size=16", "model.hidden=[6]")
REGS = [word for word in options("reg") if word != "none"]
ORDER_0 = ("annealing", "evolution", "random_search")


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
        rows = [w.flatten(1).norm(dim=1) for w in weights(models[-1])]
        longest = torch.cat(rows).max() if constraint == "maxnorm" else torch.cat(rows).norm()
        assert longest <= 0.2 * (1 + 1e-6)
    assert all(torch.equal(a, b) for a, b in zip(*map(tensors, models), strict=True))


@pytest.mark.parametrize("optimizer", sorted(options("optimizer")))
def test_decoupled_decay_is_the_same_beside_every_optimizer(optimizer, settings):
    """Over one update: w_(t+1) with the decay is w_(t+1) without it, minus lr alpha w_t."""
    found = {}
    for reg in ("none", "weight_decay"):
        chosen = settings(*TINY, f"optimizer={optimizer}", f"reg={reg}", "epochs=1")
        made_parts, data = made(chosen)
        before = [p.detach().clone() for p in weights(made_parts.model)]
        steps(made_parts, data, 1)
        found[reg] = [p.detach() for p in weights(made_parts.model)]
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


@pytest.mark.parametrize("optimizer", sorted(options("optimizer")))
def test_every_optimizer_with_every_technique_acts_or_is_refused_before_any_work(optimizer, settings, catalogue):
    """What the rehearsal lets through trains; what acts through `gradient` is refused where no gradient is taken."""
    refused, base = [], settings(*TINY, f"optimizer={optimizer}", "norm=batch")
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
