"""A finished run opened again: its model, and what it predicts."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Silent

import dlreg
from dlreg import durable
from dlreg.data.cifar import NAMES
from dlreg.data.mnist import FASHION
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.run.experiment import Experiment
from dlreg.run.predictions import predictions
from dlreg.run.reopen import reopen
from dlreg.run.result import read


@pytest.fixture
def done(settings):
    """done("reg=dropout", ...) -> the folder of a finished run."""

    def make(*words):
        experiment = Experiment.of(settings(*words))
        assert experiment.run(Silent()).status == "done"
        return experiment.folder

    return make


def test_weights_open_with_torch_alone(done):
    folder = done("reg=dropout")
    saved = torch.load(folder / "weights", weights_only=True)
    assert set(saved) == {"last", "best_val"}
    model = dlreg.load(folder, "best_val")
    assert all(torch.equal(tensor, saved["best_val"][name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "reg",
    [
        "bagging",
        "[ensemble,ema]",
        "[bagging,mc_dropout]",
        "[early_stopping,dropout]",
        "[weight_noise,swa]",
        "[dropout,l0]",
    ],
)
def test_predicts_what_the_run_predicted(reg, done):
    """Committees too; masks that are drawn at test are others, and their mean is near."""
    folder = done(f"reg={reg}")
    opened, kept = reopen(folder), predictions(read(folder))
    found, metrics = opened.predict(opened.test)
    if "mc_dropout" in reg:
        assert np.abs(found.probabilities - kept.probabilities).mean() < 0.03
        return
    assert metrics == opened.result.test["last"]
    assert (found.predicted == kept.predicted).all() and (found.labels == kept.labels).all()
    assert np.abs(found.probabilities - kept.probabilities).max() < 1e-3


def test_a_committee_has_members_of_its_own(done):
    model = dlreg.load(done("reg=ensemble", "reg.ensemble.k=2"))
    first, second = (member.net.state_dict() for member in model.members)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_csv_of_the_test_set(done, spoken):
    folder = done()
    status, out, err = spoken("predict", str(folder))
    frame = pd.read_csv(io.StringIO(out))
    assert status == 0 and list(frame)[:3] == ["index", "true", "predicted"] and len(frame) == 360
    opened = reopen(folder)
    probabilities = opened.model(to_unit(opened.test.x)).softmax(1).detach().numpy()
    assert np.allclose(frame.filter(like="p(").to_numpy(), probabilities, atol=1e-5)
    assert (frame.true != frame.predicted).mean() == pytest.approx(opened.result.test["last"]["error"])
    assert err.strip().startswith("error ") and "360 samples (last)" in err


def test_other_data_of_the_same_shape(done, spoken, tmp_path):
    folder = done()
    x = np.full((4, 8, 8), 7, np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=np.arange(4), x_test=x, y_test=np.arange(4))
    out = tmp_path / "p.csv"
    words = ["data=npz", f"data.root={tmp_path}", "data.file=mine.npz"]
    assert spoken("predict", str(folder), *words, "-o", str(out))[0] == 0
    frame = pd.read_csv(out)
    assert frame.true.tolist() == [0, 1, 2, 3] and frame.predicted.nunique() == 1
    np.savez(tmp_path / "mine.npz", x_train=x[:, 1:], y_train=np.arange(4), x_test=x[:, 1:], y_test=np.arange(4))
    status, _, err = spoken("predict", str(folder), *words)
    assert status == 2 and "(1, 7, 8) uint8, and the run was trained on (1, 8, 8) uint8" in err


def test_classes_by_name_and_data_that_moved(done, spoken, data_root, tmp_path):
    folder = done("data=image_folder", f"data.root={data_root}", "data.size=8", "data.train_size=null")
    moved = tmp_path / "moved"
    moved.symlink_to(data_root)
    status, out, _ = spoken("predict", str(folder), f"data.root={moved}")
    frame = pd.read_csv(io.StringIO(out))
    assert status == 0 and set(frame.true) == {"cat", "dog"} and list(frame)[3:] == ["p(cat)", "p(dog)"]


def test_what_cannot_be_opened(done, tmp_path, spoken):
    folder = done()
    with pytest.raises(UserError, match="is not the folder of a finished run"):
        dlreg.load(tmp_path / "nothing")
    for words, said in ((["reg=dropout"], "give data=NAME"), (["data=digit"], "digits"), (["data.rot=x"], "rot")):
        status, _, err = spoken("predict", str(folder), *words)
        assert status == 2 and said in err and len(err.splitlines()) == 1, err
    with pytest.raises(UserError, match="no best_val weights; it has last"):
        dlreg.load(done("data.val_size=0"), "best_val")
    with pytest.raises(UserError, match="were not kept"):
        dlreg.load(done("save_weights=false", "seed=1"))
    (folder / "weights").write_bytes(b"x")
    with pytest.raises(UserError, match="are damaged"):
        dlreg.load(folder)
    result = read(folder)
    result.status = "diverged"
    durable.write_json(folder / "result.json", {**durable.read_json(folder / "result.json"), "status": "diverged"})
    with pytest.raises(UserError, match="is diverged: only a run that is done"):
        dlreg.load(folder)


def test_every_class_has_a_name_of_its_own():
    assert [len(set(NAMES[name].split())) for name in ("CIFAR10", "CIFAR100")] == [10, 100]
    assert NAMES["CIFAR100"].split() == sorted(NAMES["CIFAR100"].split()) and len(set(FASHION)) == 10
