"""What tests share: settings by override, tiny files in every data format, a silent report."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dlreg import durable
from dlreg.cli import main
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.config.schema import GROUPS
from dlreg.run import fitter
from dlreg.run.experiment import Experiment

SHARED = Path(os.environ.get("DLREG_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
torch.set_num_threads(1)  # the suite runs on several processes
fitter.SPACING = 0.0  # runs of the tests last less than a second, and are to be taken up at any epoch

CLOSED_FORM = ("best_subset", "least_squares", "omp")  # optimizers of linear models, which `test_linear.py` tests
NEED_A_POOL = ("entropy", "pseudo_label")  # without samples that have no label they are refused
PACKAGES = ("tensorboard", "mlflow", "wandb")  # that trackers need and dlreg does not bring along
EVERY_OPTION = [(group, name) for group in GROUPS for name in options(group)]


def newest(path):
    """The newest intact content that `durable.write_checked` left at `path`, or None."""
    found = [durable.intact(version) for version in (path, durable.previous(path))]
    return next((content for content in found if content is not None), None)


def without_clock(history):
    """What two runs of one experiment have in common."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]


def final_state(settings):
    """The result of a run, the content of its weights file, and its history without the clock."""
    experiment = Experiment.of(settings)
    result = experiment.run(Silent())
    return result, durable.read_listed(experiment.folder, "weights"), without_clock(result.history)


class Silent:
    """A report that nobody reads."""

    def step(self, done, loss):
        pass

    def epoch(self, row):
        pass


@pytest.fixture
def spoken(capfd):
    """spoken("train", ...) -> (exit status, stdout, stderr)."""

    def call(*argv):
        status = main(list(argv))
        out, err = capfd.readouterr()
        return status, out, err

    return call


@pytest.fixture
def settings(tmp_path):
    """settings("reg=dropout", ...) -> checked Settings of a small run on the digits, with outputs in a fresh folder."""

    def make(*overrides):
        small = [
            f"outputs={tmp_path}/outputs",
            "epochs=2",
            "batch_size=64",
            "data.train_size=128",
            "device=cpu",
            "threads=1",
        ]
        for word in overrides:
            if word.startswith("log=") and word[4:] in PACKAGES:
                pytest.importorskip(word[4:], reason=f"{word[4:]} is not installed; test_log.py stands in for it")
        if any(word in o for o in overrides if o.startswith("reg=") for word in NEED_A_POOL):
            small.append("data.labelled=100")
        if not any(o.startswith("model=") for o in overrides):
            small.append("model.hidden=[16]")
        return compose(list({o.split("=")[0]: o for o in [*small, *overrides]}.values()))  # the last one counts

    return make


@pytest.fixture
def run(settings):
    """run("reg=dropout", ...) -> Result."""
    return lambda *overrides: Experiment.of(settings(*overrides)).run(Silent())


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """A folder with a small, valid copy of every file-based data set."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        write_idx_set(root / name / "raw", rng)
    for name, classes in (("cifar10", 10), ("cifar100", 100), ("data", 3)):
        arrays = {}
        for part, n in (("train", 40), ("test", 20)):
            arrays[f"x_{part}"] = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
            arrays[f"y_{part}"] = np.arange(n) % classes
        np.savez(root / f"{name}.npz", **arrays)
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(20):
                Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return root


def write_idx_set(folder, rng, n=40):
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        head = struct.pack(">IIII", 0x0803, n, 28, 28)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        labels = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x0801, n) + labels.tobytes())
