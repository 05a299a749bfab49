"""One run: its folder, its record, and what becomes of it when it is cut, damaged, repeated or fails."""

import json
import os
import shutil

import pytest
import torch
from conftest import Silent, newest

from dlreg import durable
from dlreg.cli import main
from dlreg.errors import Interrupted, UserError
from dlreg.run import fitter, parts
from dlreg.run.claim import Busy, Claim
from dlreg.run.experiment import Experiment
from dlreg.run.result import identity, read, read_all, run_id


class Stop(BaseException):
    pass


class StopAfter(Silent):
    """Raises `what` after epoch `n`."""

    def __init__(self, n, what=Stop):
        self.n, self.what = n, what

    def epoch(self, row):
        if row["epoch"] == self.n:
            raise self.what


def test_the_record_has_its_shape(run, settings):
    result = run("reg=dropout", "optimizer=adam")
    raw = json.loads((Experiment.of(settings("reg=dropout", "optimizer=adam")).folder / "result.json").read_text())
    assert raw["status"] == "done"
    assert set(raw["history"][0]) == {
        "epoch", "train_loss", "train_error", "val_loss", "val_error", "lr", "seconds", "images_per_second",
    }  # fmt: skip
    for part in ("val", "test"):
        assert set(raw[part]) == {"last", "best_val"}
        assert {"loss", "error", "top5_error"} <= set(raw[part]["last"])
    assert raw["config"]["optimizer"]["name"] == "adam"
    assert raw["versions"]["torch"] == torch.__version__
    assert raw["test_reads"] == 1
    assert raw["seconds"] > 0
    assert read(Experiment.of(settings("reg=dropout", "optimizer=adam")).folder) == result


def test_the_same_command_is_already_done(run, settings, monkeypatch):
    first = run()
    monkeypatch.setattr(Experiment, "_run", lambda *_: pytest.fail("it ran again"))
    assert run() == first


def test_rerun_runs_again_and_agrees(run):
    first, again = run(), run("rerun=true")
    assert again.test == first.test
    assert again.seconds != first.seconds


def test_identity_is_what_can_change_the_result(settings):
    base = run_id(settings().model_dump())
    same = [
        "threads=2",
        "progress=false",
        "save_weights=false",
        "data.root=/elsewhere",
        "data.download=false",
        "rerun=true",
    ]
    other = ["seed=1", "epochs=3", "batch_size=32", "optimizer.lr=0.2", "reg=l2", "data.val_size=0.2", "sampler=random",
             "schedule.warmup=1", "precision=bf16", "init=zeros", "norm=batch", "aug=flip", "data.normalize=unit"]  # fmt: skip
    assert all(run_id(settings(word).model_dump()) == base for word in same)
    assert len({base, *(run_id(settings(word).model_dump()) for word in other)}) == len(other) + 1
    assert run_id(settings("reg=[l2,l1]").model_dump()) != run_id(settings("reg=[l1,l2]").model_dump())
    assert run_id(settings("optimizer.lr=1").model_dump()) == run_id(settings("optimizer.lr=1.0").model_dump())
    assert identity(settings("device=cuda:1").model_dump())["device"] == "cuda"


@pytest.mark.parametrize(
    "words", [("reg=dropout", "optimizer=adam"), ("reg=early_stopping", "norm=batch", "aug=mixup")]
)
def test_cut_anywhere_it_continues_bit_identically(words, settings):
    """Cut after every epoch in turn, several times in a row; weights, optimizer and history end the same to the bit."""
    base = settings().outputs
    whole = settings(*words, "epochs=5", f"outputs={base}/whole")
    expected = Experiment.of(whole).run(Silent())
    cut = settings(*words, "epochs=5", f"outputs={base}/cut")
    for n in range(1, 5):
        with pytest.raises(Stop):
            Experiment.of(cut).run(StopAfter(n))
        torch.rand(n)  # the global stream is elsewhere each time
    found = Experiment.of(cut).run(Silent())
    assert found.test == expected.test
    clockless = lambda r: [{k: v for k, v in h.items() if "second" not in k} for h in r.history]  # noqa: E731
    assert clockless(found) == clockless(expected)
    weights = [durable.read_listed(Experiment.of(s).folder, "weights") for s in (whole, cut)]
    assert weights[0] == weights[1]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(settings):
    expected = Experiment.of(settings("epochs=4", "outputs=" + settings().outputs + "/whole")).run(Silent())
    cut = settings("epochs=4")
    with pytest.raises(Stop):
        Experiment.of(cut).run(StopAfter(3))
    checkpoint = Experiment.of(cut).folder / "checkpoint-0"
    raw = bytearray(checkpoint.read_bytes())
    raw[len(raw) // 2] ^= 1
    checkpoint.write_bytes(raw)
    seen = []

    class Watch(Silent):
        def epoch(self, row):
            seen.append(row["epoch"])

    found = Experiment.of(cut).run(Watch())
    assert seen == [3, 4]
    assert found.test == expected.test


def test_both_checkpoints_damaged_starts_again_and_says_so(settings):
    cut = settings("epochs=3")
    with pytest.raises(Stop):
        Experiment.of(cut).run(StopAfter(2))
    for path in Experiment.of(cut).folder.glob("checkpoint-0*"):
        path.write_bytes(b"nonsense")
    found = Experiment.of(cut).run(Silent())
    assert found.status == "done"
    assert "was damaged" in found.remarks[0]


@pytest.mark.parametrize("words", [(), ("-m",), ("-m", "seed=0,1")], ids=" ".join)
def test_checkpoints_that_a_kill_left_beside_a_result_go(words, run, settings, tmp_path):
    """Each way to the same run: it was killed after its result was written and before they were deleted."""
    folder = Experiment.of(settings()).folder
    run()
    for name in ("checkpoint-0", "checkpoint-0.previous"):
        (folder / name).write_bytes(b"x")
    small = ("epochs=2", "batch_size=64", "data.train_size=128", "device=cpu", "threads=1", "model.hidden=[16]")
    assert main(["train", f"outputs={tmp_path}/outputs", *small, *words]) == 0
    assert not list(folder.glob("checkpoint-*"))
    assert (folder / "result.json").exists()


@pytest.mark.parametrize("name", ["weights", "predictions.npz"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_named_and_made_again(name, harm, run, settings, spoken):
    before = run()
    file = Experiment.of(settings()).folder / name
    whole = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + (bytes([whole[-1] ^ 1]) if harm == "flipped" else b""))
    status, out, err = spoken("table", settings().outputs)
    assert status == 0 and f"{name} is damaged or gone" in err and err.count("\n") == 1
    assert f"{100 * before.test['last']['error']:.2f}" in out  # the result itself is whole
    assert run().test == before.test and file.read_bytes() == whole
    assert spoken("table", settings().outputs)[2] == ""


def test_another_fingerprint_is_told(settings, monkeypatch):
    cut = settings("epochs=3")
    with pytest.raises(Stop):
        Experiment.of(cut).run(StopAfter(1))
    there = fitter.fingerprint(cut)
    monkeypatch.setattr(fitter, "fingerprint", lambda s: there | {"cpu": "another"})
    assert "another machine" in Experiment.of(cut).run(Silent()).remarks[0]


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Interrupted(15)])
def test_a_signal_leaves_an_interrupted_record_that_can_go_on(signal, settings):
    cut = settings("epochs=3")
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        Experiment.of(cut).run(StopAfter(2, signal))
    assert read(Experiment.of(cut).folder).status == "interrupted"
    assert Experiment.of(cut).run(Silent()).status == "done"


def test_a_killed_run_is_read_as_interrupted(settings):
    cut = settings("epochs=3")
    with pytest.raises(Stop):
        Experiment.of(cut).run(StopAfter(1))
    folder = Experiment.of(cut).folder
    assert not (folder / "result.json").exists()
    results, unreadable = read_all([folder.parent])
    assert [r.status for r in results] == ["interrupted"]
    assert results[0].run_id == folder.name
    assert not unreadable


def test_divergence_is_a_result_without_numbers(run):
    result = run("optimizer.lr=1e30", "epochs=3")
    assert result.status == "diverged"
    assert result.message.startswith("diverged at step ")
    assert result.test is result.val is result.train is None
    assert run("optimizer.lr=1e30", "epochs=3") == result  # final: it is not tried again


def test_a_failure_is_a_result_and_is_tried_again(settings, monkeypatch):
    chosen = settings()
    with monkeypatch.context() as patched:
        patched.setattr(fitter, "fit", lambda *_: 1 / 0)
        result = Experiment.of(chosen).run(Silent())
    assert (result.status, result.message) == ("failed", "ZeroDivisionError: division by zero")
    assert "1 / 0" in (Experiment.of(chosen).folder / "traceback.txt").read_text()
    assert Experiment.of(chosen).run(Silent()).status == "done"


def test_a_full_disk_is_a_failed_run_and_the_checkpoint_stays(settings, monkeypatch):
    cut = settings("epochs=3")
    with pytest.raises(Stop):
        Experiment.of(cut).run(StopAfter(2))
    checkpoint = Experiment.of(cut).folder / "checkpoint-0"
    before = newest(checkpoint)
    real = os.fsync

    def full(fd):
        if "checkpoint" in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(28, "No space left on device")
        return real(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        result = Experiment.of(cut).run(Silent())
    assert result.status == "failed"
    assert "No space left" in result.message
    assert newest(checkpoint) == before
    assert Experiment.of(cut).run(Silent()).status == "done"


def test_the_same_experiment_twice_at_once_is_refused(settings):
    chosen = settings()
    with Claim(Experiment.of(chosen).folder), pytest.raises(Busy, match="another process"):
        Experiment.of(chosen).run(Silent())
    assert Experiment.of(chosen).run(Silent()).status == "done"


REFUSED = {
    "needs images": ("model=resnet", "data=npz"),
    "batch_size=1 does not work with norm=batch": ("norm=batch", "batch_size=1"),
    "early_stopping chooses by the validation set": ("reg=early_stopping", "data.val_size=0"),
    "model.depth=21 must be 6n+2": ("model=resnet", "model.depth=21"),
    "ask for": ("data.train_size=100000",),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_written(message, settings, tmp_path):
    import numpy as np

    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.arange(40) % 2, x_test=x, y_test=np.arange(40) % 2)
    words = [*REFUSED[message]]
    if "data=npz" in words:
        words += [f"data.root={tmp_path}", "data.train_size=null"]
    with pytest.raises(UserError, match=message.replace("+", r"\+")):
        Experiment.of(settings(*words)).run(Silent())
    assert not (tmp_path / "outputs").exists()


def test_features_train_without_images(settings, tmp_path):
    import numpy as np

    x = np.random.default_rng(0).normal(size=(40, 6))
    np.savez(tmp_path / "data.npz", x_train=x, y_train=np.arange(40) % 2, x_test=x, y_test=np.arange(40) % 2)
    words = ("data=npz", f"data.root={tmp_path}", "data.train_size=null")
    assert Experiment.of(settings(*words)).run(Silent()).status == "done"


def test_without_validation_there_is_no_best_epoch(run):
    result = run("data.val_size=0")
    assert result.test["best_val"] is None
    assert result.val["last"] is None
    assert result.test["last"]["error"] < 1


def test_full_batch_is_one_step_an_epoch(run):
    assert run("batch_size=full", "sampler=cyclic").status == "done"


def test_bf16(run):
    assert run("precision=bf16").test["last"]["error"] <= 1


def test_weights_are_kept_or_not(run, settings):
    run()
    folder = Experiment.of(settings()).folder
    saved = torch.load(__import__("io").BytesIO(durable.read_listed(folder, "weights")), weights_only=True)
    assert set(saved) == {"last", "best_val"}
    assert not list(folder.glob("checkpoint*"))
    shutil.rmtree(folder)
    run("save_weights=false")
    assert not (folder / "weights").exists()


def test_techniques_leave_the_split_init_and_order_alone(settings):
    """Paired seeds: with dropout, noise or augmentation on, the data and the first weights are the same to the bit."""
    plain = settings()
    dataset = parts.load(plain.data)
    base = parts.make_data(plain, dataset)
    first = parts.make_model(plain, base, 0)
    for words in (("reg=dropout",), ("aug=[crop,mixup]",), ("optimizer=adam", "reg=[l2,maxnorm]")):
        other = settings(*words)
        data = parts.make_data(other, dataset)
        assert torch.equal(data.train.x, base.train.x)
        model = parts.make_model(other, data, 0)
        assert all(
            torch.equal(a, b) for a, b in zip(model.state_dict().values(), first.state_dict().values(), strict=True)
        )


def test_nothing_imports_the_compiler():
    """torch._dynamo takes 1.6 s to import; the first optimizer step must not bring it in."""
    import subprocess
    import sys

    code = (
        "import sys, tempfile\nfrom dlreg.cli import main\n"
        "assert main(['train', 'epochs=1', 'optimizer=adam', 'outputs=' + tempfile.mkdtemp()]) == 0\n"
        "assert not {'torch._dynamo', 'torchvision', 'sklearn', 'scipy', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
