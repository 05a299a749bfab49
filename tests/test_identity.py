"""A result belongs to what made it: settings, data, plugins. And a run's files are what was written."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import SHARED, Silent

from dlreg import durable
from dlreg.config.build import locate
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.data.base import Split
from dlreg.optimizer.second_order import AdaHessian
from dlreg.reg.dropout import Dropout
from dlreg.report.judge import compare
from dlreg.run.content import data_digest, split_digest
from dlreg.run.experiment import Experiment
from dlreg.run.predictions import predictions, wrong
from dlreg.run.result import Result, read, read_all, run_id


def write_npz(path, seed):
    rng = np.random.default_rng(seed)
    arrays = {
        f"x_{part}": rng.integers(0, 256, (n, 8, 8), dtype=np.uint8) for part, n in (("train", 120), ("test", 30))
    }
    np.savez(path, **arrays, y_train=np.arange(120) % 3, y_test=np.arange(30) % 3)


def change_npz(root):
    write_npz(root / "data.npz", 1)


def change_mnist(root):
    path = root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[-1] = (content[-1] + 1) % 10
    path.write_bytes(content)


def change_picture(root):
    picture = next((root / "train" / "cat").iterdir())
    shutil.copy(next((root / "train" / "dog").iterdir()), picture)


def change_cifar(root):
    shutil.copy(root / "data.npz", root / "cifar10.npz")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (["data=npz"], change_npz),
        (["data=mnist", "data.download=false"], change_mnist),
        (["data=image_folder", "data.size=8"], change_picture),
        (["data=cifar10", "data.download=false"], change_cifar),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_data_are_another_run(words, change, data_root, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(data_root, root)
    write_npz(root / "data.npz", 0)

    def name(**folders):
        return Experiment.of(compose([*words, f"data.root={folders.get('root', root)}", "device=cpu"])).run_id

    before = name()
    assert name() == before  # nothing changed
    shutil.copytree(root, tmp_path / "copy")
    assert name(root=tmp_path / "copy") == before  # where the data lie does not matter
    change(root)
    assert name() != before
    assert name(root=tmp_path / "copy") == before


def test_official_data_are_known_by_name():
    if not (SHARED / "MNIST").is_dir():
        pytest.skip("real MNIST is not beside the checkout")
    assert data_digest({**compose(["data=mnist"]).data, "root": str(SHARED)}) is None
    assert data_digest(compose(["data=digits"]).data) is None


def test_another_source_of_a_plugin_is_another_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DLREG_PLUGINS", "identitytricks")
    monkeypatch.syspath_prepend(tmp_path)
    module, folder = tmp_path / "identitytricks.py", tmp_path / "conf" / "reg"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# mine\nmine:\n  _target_: identitytricks.Mine\n")
    module.write_text(
        "from dlreg.reg.base import Regularizer\n\n\nclass Mine(Regularizer):\n    def gradient(self, model): ...\n"
    )
    first = Experiment.of(compose(["reg=mine", "device=cpu"], [str(tmp_path / "conf")])).run_id
    module.write_text(module.read_text() + "    strength = 1000\n")
    assert Experiment.of(compose(["reg=mine", "device=cpu"], [str(tmp_path / "conf")])).run_id != first


def test_other_files_of_an_option_are_another_run(settings, tmp_path):
    """The rule holds for every option that reads a file, as the weights that `l2_to` pulls to."""
    words = ["reg=l2_to", f"reg.l2_to.weights={tmp_path}"]
    (tmp_path / "weights").write_bytes(b"of one run")
    first = Experiment.of(settings(*words)).run_id
    assert Experiment.of(settings(*words)).run_id == first
    (tmp_path / "weights").write_bytes(b"of another run")
    assert Experiment.of(settings(*words)).run_id != first


def test_another_revision_of_an_option_is_another_run_for_whom_it_concerns(settings, monkeypatch):
    """When dlreg itself makes something else of the same settings."""
    with_it, without = (Experiment.of(settings(*words)).run_id for words in (["reg=[l2,dropout]"], ["reg=l2"]))
    monkeypatch.setattr(Dropout, "revision", 2, raising=False)
    assert Experiment.of(settings("reg=[l2,dropout]")).run_id != with_it
    assert Experiment.of(settings("reg=l2")).run_id == without


def test_another_revision_of_an_option_inside_an_option_too(settings, monkeypatch):
    words = ("optimizer=sam", "optimizer@optimizer.base=adahessian")
    first = Experiment.of(settings(*words)).run_id
    monkeypatch.setattr(AdaHessian, "revision", 7)
    assert Experiment.of(settings(*words)).run_id != first


REVISED = {
    ("aug", "erasing"): 2,
    ("aug", "fancy_pca"): 2,
    ("norm", "cosine"): 2,
    ("norm", "weight"): 2,
    ("optimizer", "adahessian"): 2,
    ("optimizer", "coordinate_descent"): 2,
    ("optimizer", "muon"): 2,
    ("reg", "ema"): 2,
    ("reg", "swa"): 2,
    ("reg", "weight_decay"): 2,
    ("schedule", "cosine_restarts"): 2,
}


def test_no_option_becomes_another_unnoticed():
    """Raising a revision makes everybody's runs of that option others: this list says of which, and is changed with it."""
    found = {}
    for group in ("aug", "data", "init", "loss", "model", "norm", "optimizer", "reg", "schedule"):
        for word, path in options(group).items():
            node = yaml.safe_load(path.read_text()) or {}
            made = node if "_target_" in node else node.get(word)
            if made and (revision := getattr(locate(group, made), "revision", 1)) != 1:
                found[group, word] = revision
    assert found == REVISED


def test_rows_are_told_apart_by_what_ran_and_not_by_its_name(run):
    """optimizer._target_=torch.optim.Adam keeps the name sgd; the two must not be two seeds of one row."""
    plain = run("epochs=1")
    other = run("epochs=1", "optimizer._target_=torch.optim.RMSprop")
    table = compare([plain, other])
    assert len(table.rows) == 2


def test_what_a_finished_run_leaves_is_sealed(settings):
    experiment = Experiment.of(settings("reg=dropout"))
    result = experiment.run(Silent())
    assert set(result.files) == {"weights", "predictions.npz"}
    found = predictions(read(experiment.folder))
    assert (found.labels != found.predicted).mean() == result.test["last"]["error"]
    assert (wrong(read(experiment.folder)) == (found.labels != found.predicted)).all()
    assert abs(found.probabilities.sum(1) - 1).max() < 5e-3
    assert torch.load(experiment.folder / "weights", weights_only=True).keys() == {"last", "best_val"}  # by anybody
    for name in result.files:
        whole = (experiment.folder / name).read_bytes()
        for damage in (whole[:-1], whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], None):
            assert experiment.finished()
            (experiment.folder / name).unlink()
            if damage is not None:
                (experiment.folder / name).write_bytes(damage)
            assert durable.read_listed(experiment.folder, name) is None
            assert experiment.finished() is None  # the same command makes it again
            (experiment.folder / name).write_bytes(whole)


def test_a_damaged_result_is_named_left_out_and_made_again(settings):
    one, other = Experiment.of(settings()), Experiment.of(settings("seed=1"))
    whole = one.run(Silent())
    other.run(Silent())
    path = one.folder / "result.json"
    raw = path.read_bytes()
    digit = raw.index(b'"error": 0.') + len(b'"error": 0.')
    path.write_bytes(raw[:digit] + (b"1" if raw[digit : digit + 1] != b"1" else b"2") + raw[digit + 1 :])
    results, unreadable = read_all([one.folder.parent])
    assert [r.run_id for r in results] == [other.run_id]
    assert [bad.folder for bad in unreadable] == [one.folder] and "seal" in unreadable[0].why
    assert one.finished() is None
    assert one.run(Silent()).test == whole.test


def mangled(value, wrong):
    """The tree with each leaf and each branch in turn left out or of another type."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {k: v for k, v in value.items() if k != key}
            for other in wrong:
                yield {**value, key: other}
            for changed in mangled(inner, wrong):
                yield {**value, key: changed}
    elif isinstance(value, list) and value:
        for changed in [*wrong, *mangled(value[0], wrong)]:
            yield [changed, *value[1:]]


def test_results_of_any_shape_never_take_a_table_down(tmp_path, run, settings):
    """Sealed anew, so that only the checks of the content stand between them and the table."""
    run()
    folder = Experiment.of(settings()).folder
    content = durable.read_json(folder / "result.json")
    content["history"] = content["history"][:1]
    tried, refused = 0, 0
    for changed in mangled(content, [None, [], "text", -1.5, 10**400]):
        durable.write_json(tmp_path / "result.json", changed)
        try:
            found = read(tmp_path)
        except ValueError as error:
            assert len(str(error).splitlines()) == 1
            refused += 1
        else:
            assert isinstance(found, Result)
            compare([found])
        tried += 1
    assert tried > 500 and refused > 300


@contextlib.contextmanager
def no_room_for(name, monkeypatch):
    """A disk that is full when the file of that name is written."""

    def full(real):
        def write(*arguments):
            if any(getattr(argument, "name", None) == name for argument in arguments):
                raise OSError(28, "No space left on device")
            return real(*arguments)

        return write

    with monkeypatch.context() as patched:
        for function in ("write_atomic", "fill"):
            patched.setattr(durable, function, full(getattr(durable, function)))
        yield


def test_a_run_that_failed_keeps_no_number_and_counts_its_looks_at_the_test_set(settings, monkeypatch):
    experiment = Experiment.of(settings())
    with no_room_for("weights", monkeypatch):
        failed = experiment.run(Silent())
    assert failed.status == "failed" and "No space left" in failed.message
    raw = json.loads((experiment.folder / "result.json").read_text())
    assert raw["test"] is raw["train"] is raw["val"] is raw["seconds"] is None and raw["test_reads"] == 1
    assert experiment.run(Silent()).test_reads == 2  # and a table says so


def test_a_full_disk_at_the_last_write_fails_the_run_and_loses_nothing(settings, monkeypatch):
    experiment, epochs = Experiment.of(settings("epochs=3")), []
    with no_room_for("result.json", monkeypatch):
        failed = experiment.run(Silent())
    assert failed.status == "failed" and "result.json could not be written" in failed.message
    assert list(experiment.folder.glob("checkpoint-*"))
    watch = Silent()
    watch.epoch = epochs.append
    assert experiment.run(watch).status == "done" and not epochs  # no epoch was trained again
    assert not list(experiment.folder.glob("checkpoint-*"))


def test_a_checkpoint_of_another_run_or_another_shape_is_damage(settings):
    class StopAfter(Silent):
        def epoch(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt

    one, other = (Experiment.of(settings("epochs=3", f"model.hidden=[{width}]")) for width in (16, 8))
    whole = Experiment.of(settings("epochs=3", "outputs=" + settings().outputs + "/whole")).run(Silent())
    for experiment in (one, other):
        with pytest.raises(KeyboardInterrupt):
            experiment.run(StopAfter())
    shutil.copy(other.folder / "checkpoint-0", one.folder / "checkpoint-0")
    found = one.run(Silent())
    assert found.test == whole.test  # the one before it was taken
    assert not any("started again" in remark for remark in found.remarks)


def test_a_digest_of_samples_changes_with_any_of_them():
    x, y = torch.arange(12.0).reshape(3, 4), torch.arange(3)
    other, label = x.clone(), y.clone()
    other[1, 2], label[2] = -1, 0
    splits = [Split(x, y), Split(other, y), Split(x, label), Split(x.reshape(3, 2, 2), y), Split(x.double(), y)]
    assert split_digest(Split(x.clone(), y)) == split_digest(splits[0])
    assert len({split_digest(split) for split in splits} - {None}) == len(splits)


def test_a_runs_name_depends_on_the_order_of_stacked_options_alone():
    def turned(node):
        return {key: turned(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    config = Experiment.of(compose(["data=digits", "reg=[dropout,l2]"])).config
    reg = {key: config["reg"][key] for key in reversed(config["reg"])}
    assert run_id({**turned(config), "reg": config["reg"]}) == run_id(config) != run_id({**config, "reg": reg})
