"""Every YAML on disk: it composes, builds, trains, repeats its bits, resumes, and leaves others' random numbers alone."""

import inspect
import re

import pytest
import torch
from conftest import CLOSED_FORM, EVERY_OPTION, Silent, without_clock

from dlreg import durable
from dlreg.config.build import hyperparameters, locate
from dlreg.config.card import TOLD_IN_WORDS
from dlreg.config.options import headline, options
from dlreg.config.schema import GROUPS
from dlreg.run.experiment import Experiment
from dlreg.run.machine import resolve
from dlreg.run.reopen import reopen
from dlreg.run.result import run_id

FAST = ("epochs=2", "batch_size=64", "data.train_size=128")  # two steps an epoch
VALUES = ("sine", "sine10", "quadratic", "gaussian")  # data sets that are no classes
IDS = [f"{group}={name}" for group, name in EVERY_OPTION]


def overrides(group, name, data_root):
    small = [f"{group}={name}"]
    if group == "data":
        small += [f"data.root={data_root}", "data.download=false", "data.train_size=null", "data.val_size=0.2"]
        small += ["loss=mse"] if name in VALUES else []
    if name in ("polynomial", "rbf", *CLOSED_FORM):
        small += ["data=sine", "data.train_size=null", "loss=mse"]
        small += ["model=polynomial", "batch_size=full"] if name in CLOSED_FORM else []
    if group == "model" and name == "resnet":
        small += ["model.depth=8", "model.width=4"]
    if group == "model" and name == "wrn":
        small += ["model.depth=10", "model.widen=1"]
    if (group, name) in [("optimizer", "newton"), ("optimizer", "lbfgs"), ("optimizer", "coordinate_descent")]:
        small += ["batch_size=full"]
    if group == "aug":
        small += ["model=lenet"]
    return small


WATCHED = "log=layers"  # which looks into the run after every epoch, and must not change a bit of it


_trained = {}


@pytest.fixture
def trained(tmp_path_factory, settings, data_root):
    """trained(group, name) -> (Experiment, Result) of the run from start to end, which is trained once."""

    def whole(group, name):
        if (group, name) not in _trained:
            watched = [WATCHED] if group != "log" else []
            chosen = settings(*overrides(group, name, data_root), *watched, f"outputs={tmp_path_factory.mktemp(name)}")
            experiment = Experiment.of(chosen)
            _trained[group, name] = experiment, experiment.run(Silent())
        return _trained[group, name]

    return whole


@pytest.mark.parametrize(("group", "name"), EVERY_OPTION, ids=IDS)
def test_trains_and_opens_again(group, name, trained):
    """The model that the run's folder gives back says of the test set what the run said, in the same numbers."""
    experiment, result = trained(group, name)
    assert result.status in ("done", "diverged"), result.message
    if result.status == "done":
        assert 0 <= result.test["last"].get("error", 0) <= 1
        assert result.test_reads == 1
        assert not any("failed" in remark for remark in result.remarks), result.remarks
        assert (experiment.folder / "layers.json").exists() == ("layers" in experiment.settings.log)
        for select in ("last", "best_val"):
            opened = reopen(experiment.folder, select)
            assert not opened.model.training
            if name != "mc_dropout":  # whose masks the run had begun to draw before it came to the test set
                again = opened.predict(opened.test)[1]
                assert again == {key: result.test[select][key] for key in again}  # but for the attack's


@pytest.mark.parametrize(("group", "name"), EVERY_OPTION, ids=IDS)
def test_card_is_complete(group, name, settings, data_root):
    """A headline, a docstring with a source, and a YAML with exactly the option's keys: Python has no second default."""
    path = options(group)[name]
    assert headline(path)
    chosen = getattr(settings(*overrides(group, name, data_root)), group)
    for node in chosen.values() if GROUPS[group].stack else [chosen]:
        doc = inspect.getdoc(locate(group, node)) or ""
        assert len(doc.splitlines()[0]) > 1 and (
            name in ("none", "constant") or group in TOLD_IN_WORDS or "https://" in doc
        )
        for key, (annotation, default) in hyperparameters(group, node).items():
            assert key in node, f"{path} lacks {key}"
            assert default is inspect.Parameter.empty or default is ..., f"{key} has a second default in Python"
            assert annotation is not None


@pytest.mark.parametrize(("group", "name"), [(g, n) for g, n in EVERY_OPTION if g != "data"])
def test_killed_and_continued_is_bit_identical(group, name, settings, data_root, trained):
    """Stop right after the first epoch's checkpoint, forget everything, run the same command again.

    What was trained twice with one seed, its first epoch by two processes as it were, has the same bits.
    """
    cut = settings(*overrides(group, name, data_root))
    experiment, whole = trained(group, name)
    if whole.status != "done":
        pytest.skip(f"{name} diverges here: {whole.message}")

    class Killed(BaseException):
        pass

    class Killer(Silent):
        def epoch(self, row):
            raise Killed

    with pytest.raises(Killed):
        Experiment.of(cut).run(Killer())
    torch.manual_seed(12345)  # whatever the global generator holds must not matter
    continued = Experiment.of(cut).run(Silent())
    assert continued.status == "done", continued.message
    assert without_clock(continued.history) == without_clock(whole.history)
    weights = [durable.read_listed(run.folder, "weights") for run in (experiment, Experiment.of(cut))]
    assert weights[0] == weights[1]
    assert continued.test == whole.test


def test_every_option_has_an_id_of_its_own(settings, data_root):
    ids = [run_id(resolve(settings(*overrides(g, n, data_root))).model_dump()) for g, n in EVERY_OPTION]
    plain = [n for g, n in EVERY_OPTION if n in ("none", "default", "constant")]
    defaults = (
        len(plain) + 3 - 1
    )  # the defaults of data, model and optimizer are the plain run too, but aug runs on lenet
    assert len(set(ids)) >= len(ids) - defaults
    assert all(re.fullmatch(r"[A-Za-z0-9_+.-]+", i) for i in ids)
