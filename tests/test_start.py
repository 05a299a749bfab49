"""Transfer: the weights of a finished run, layers made anew, layers that stay as they are; and what is refused."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from conftest import CLOSED_FORM, Silent, final_state

from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.blocks import acting, layer_name, plain_name
from dlreg.run import parts
from dlreg.run.experiment import Experiment
from dlreg.run.loop import Nobody, fit
from dlreg.run.rehearse import rehearse
from dlreg.run.reopen import reopen
from dlreg.run.result import identity, run_id

SMALL = ("epochs=2", "batch_size=64", "data.train_size=128", "device=cpu", "threads=1", "model.hidden=[12,8]")
LAST = "layers.5"


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A finished run: (folder, its model)."""
    outputs = tmp_path_factory.mktemp("before")
    experiment = Experiment.of(compose([*SMALL, f"outputs={outputs}", "norm=batch"]))
    experiment.run(Silent())
    return experiment.folder, reopen(experiment.folder).model


@pytest.fixture
def after(before, tmp_path):
    """after("freeze=[...]", ...) -> settings that start from it."""

    def make(*words):
        base = [*SMALL, f"outputs={tmp_path}/outputs", f"start={before[0]}", "norm=batch"]
        if "model=lenet" in words:
            base.remove("model.hidden=[12,8]")
        return compose(list({word.split("=")[0]: word for word in [*base, *words]}.values()))

    return make


def model_of(settings):
    data = parts.make_data(settings, parts.load(settings.data))
    return parts.make_parts(settings, data, settings.seed).model


def tensors(model):
    return {plain_name(name): t for name, t in model.state_dict().items() if name.startswith("net.")}


def test_it_begins_with_the_weights_and_moments_of_the_run(before, after):
    old, new = tensors(before[1]), tensors(model_of(after()))
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)
    assert not torch.equal(old["layers.1.0.weight"], tensors(model_of(after("start=null")))["layers.1.0.weight"])


def test_fresh_layers_are_those_of_init(before, after):
    old, new = tensors(before[1]), tensors(model_of(after(f"fresh=[{LAST}]")))
    plain = tensors(model_of(after("start=null")))
    for name in old:
        assert torch.equal(new[name], plain[name] if layer_name(name) == LAST else old[name])


def test_weight_normalization_takes_the_function_over(before, after):
    """From a plain network into one of lengths and directions, and back."""
    weighted = Experiment.of(after("norm=weight", "start=null"))
    weighted.run(Silent())
    opened = reopen(weighted.folder)
    values = {plain_name(w.name): w.value for w in acting(opened.model)}
    for words in (["norm=none"], ["norm=weight"], ["norm=weight", "reg=weight_noise"]):
        model = model_of(after(f"start={weighted.folder}", *words))
        for w in acting(model):
            assert torch.allclose(w.value, values[plain_name(w.name)], rtol=1e-6, atol=1e-7)


def test_training_the_last_layer_alone_is_softmax_regression_on_features(before, after):
    """Gradient descent on the whole batch in float64 by hand: the features never change."""
    chosen = after("norm=none", "start=null", "freeze=[layers.1,layers.3]", "batch_size=full", "precision=fp64", "epochs=5",
                   "optimizer.lr=0.5")  # fmt: skip
    data = parts.make_data(chosen, parts.load(chosen.data))
    made = parts.make_parts(chosen, data, 0)
    net, y = made.model.net, data.train.y
    with torch.no_grad():
        features = net.layers[:-1](made.model.input(to_unit(data.train.x)))
    w, b = (p.detach().clone().requires_grad_() for p in net.layers[-1].parameters())
    for _ in range(5):
        gradients = torch.autograd.grad(F.cross_entropy(features @ w.T + b, y), (w, b))
        w, b = ((p - 0.5 * g).detach().requires_grad_() for p, g in zip((w, b), gradients, strict=True))
    fitted = fit(made, data, parts.make_loop(chosen, len(y)), Nobody(), Nobody())
    assert torch.allclose(fitted.last.net.layers[-1].weight, w, atol=1e-12)
    assert torch.allclose(fitted.last.net.layers[-1].bias, b, atol=1e-12)


def frozen_after(chosen):
    """Whether the first layer is bit for bit what it began as, and the last one is not."""
    data = parts.make_data(chosen, parts.load(chosen.data))
    made = parts.make_parts(chosen, data, chosen.seed)
    start = {k: v.clone() for k, v in tensors(made.model).items()}
    end = tensors(fit(made, data, parts.make_loop(chosen, len(data.train)), Nobody(), Nobody()).last)
    same = {name: torch.equal(start[name], end[name]) for name in start if name in end and name.endswith("weight")}
    return same["layers.1.weight"], any(not kept for kept in same.values())


TINY = ("norm=none", "start=null", "freeze=[layers.1]", "model.hidden=[4]", "data.train_size=32", "batch_size=full",
        "data.val_size=16", "epochs=2")  # fmt: skip


@pytest.mark.parametrize("optimizer", sorted(set(options("optimizer")) - set(CLOSED_FORM)))
def test_frozen_weights_stay_bit_identical_under_every_optimizer(optimizer, after):
    few = ["optimizer.coordinates=2"] if optimizer == "coordinate_descent" else []
    assert frozen_after(after(*TINY, f"optimizer={optimizer}", *few))[0]


@pytest.mark.parametrize("word", [word for word in options("reg") if word != "none"])
def test_frozen_weights_stay_bit_identical_under_every_technique(word, after):
    """Or the two are refused before any work."""
    chosen = after(*TINY, f"reg={word}", "data.labelled=24")
    try:
        rehearse(chosen, parts.make_data(chosen, parts.load(chosen.data)))
    except UserError as error:
        assert len(str(error).splitlines()) == 1
        pytest.skip(str(error))
    assert frozen_after(chosen)[0]


def test_a_run_that_starts_from_another_is_resumed_to_the_bit_and_opens_without_it(before, after, tmp_path):
    folder = tmp_path / "copy" / before[0].name
    shutil.copytree(before[0], folder)
    words = (f"start={folder}", f"fresh=[{LAST}]", "freeze=['layers.1*']", "seed=1")
    whole = final_state(after(*words, f"outputs={tmp_path}/whole"))

    class Stop(Silent):
        def epoch(self, row):
            raise KeyboardInterrupt

    cut = after(*words, f"outputs={tmp_path}/cut")
    with pytest.raises(KeyboardInterrupt):
        Experiment.of(cut).run(Stop())
    continued = final_state(cut)
    assert continued[1:] == whole[1:] and whole[0].status == "done"
    assert any("may have seen samples of this validation set" in remark for remark in whole[0].remarks)
    experiment = Experiment.of(cut)
    assert experiment.folder
    shutil.rmtree(folder)
    opened = reopen(experiment.folder)
    assert opened.predict(opened.test)[1] == whole[0].test["last"]


def test_identity_knows_the_run_and_its_weights(before, after, tmp_path):
    content = Experiment.of(after()).config["content"]["start"]
    assert before[0].name in content
    other = Experiment.of(after("start=null", "seed=3"))
    other.run(Silent())
    assert Experiment.of(after(f"start={other.folder}")).run_id != Experiment.of(after()).run_id
    assert (
        Experiment.of(after(f"start={other.folder.name}")).settings.start == other.folder.name
    )  # by its id in outputs
    rehearse(after(f"start={other.folder.name}"), Experiment.of(after()).data())


def test_without_it_every_run_is_the_one_that_it_was():
    plain = compose(["device=cpu"]).model_dump()
    without = {k: v for k, v in plain.items() if k not in ("start", "fresh", "freeze")}
    assert run_id(plain) == run_id(without) and not {"start", "fresh", "freeze"} & identity(plain).keys()


def test_l2_to_pulls_to_the_weights_that_it_starts_from(before, after):
    """L2-SP: no weight was moved yet, so nothing is added."""
    chosen = after("reg=l2_to", "reg.l2_to.alpha=1")
    made = parts.make_parts(chosen, parts.make_data(chosen, parts.load(chosen.data)), 0)
    assert made.reg.penalty(made.model, None, None, None) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["start=nowhere"], "nowhere is not the folder of a finished run"),
        (
            ["model.hidden=[12,9]"],
            r"layers.3.0.weight has the shape \(9, 12\) here and \(8, 12\) there; fresh=\[layers.3.0,",
        ),
        (["model.hidden=[12,8]", "norm=none"], "layers.1.weight has the shape .* here and is not there"),
        (["model=lenet"], "holds no layer of this model"),
        (["fresh=[nothing]"], "fresh: 'nothing' matches no layer; this model has layers.1.0"),
        (["fresh=['*']"], r"fresh=\[\*\] takes no layer of it"),
        (["start=null", "fresh=[layers.5]"], "start=RUN does not fill"),
        (["freeze=[layers.99]"], "freeze: 'layers.99' matches no layer; this model has layers.1.0"),
        (["freeze=['layers.*']"], "leaves nothing to train"),
        (["start=3"], "start=3 must be a valid string"),
        (["freeze=layers.1"], "freeze=.*must be a valid list"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line_before_any_work(words, message, after):
    with pytest.raises(UserError, match=message) as refusal:
        Experiment.of(after(*words)).run(Silent())
    assert len(str(refusal.value).splitlines()) == 1


def test_other_classes_are_said_how_to_leave_out_and_then_work(before, after, data_root):
    words = ["data=npz", f"data.root={data_root}", "data.train_size=null", "data.val_size=0"]
    with pytest.raises(UserError, match=r"fresh=\[layers.1.0,layers.5\] leaves it out"):
        Experiment.of(after(*words)).run(Silent())
    assert Experiment.of(after(*words, "fresh=[layers.1.0,layers.5]")).run(Silent()).status == "done"


@pytest.mark.parametrize("damage", ["other bytes", "gone"])
def test_damaged_weights_are_refused(damage, before, after, tmp_path):
    folder = tmp_path / before[0].name
    shutil.copytree(before[0], folder)
    if damage == "gone":
        (folder / "weights").unlink()
    else:
        (folder / "weights").write_bytes(b"x" + (folder / "weights").read_bytes()[1:])
    with pytest.raises(UserError, match="its weights are damaged"):
        Experiment.of(after(f"start={folder}")).run(Silent())


def test_a_run_without_weights_is_refused(after):
    without = Experiment.of(after("start=null", "save_weights=false"))
    without.run(Silent())
    with pytest.raises(UserError, match=r"kept no weights \(save_weights=false\)"):
        Experiment.of(after(f"start={without.folder}")).run(Silent())
