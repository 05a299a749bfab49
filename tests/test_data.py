"""Data: read right, refused when damaged, split without leaks."""

import gzip
import struct
import zipfile

import numpy as np
import pytest
import torch
from conftest import SHARED, Silent

from dlreg.data.base import Dataset, SealedTest, Split, prepare, stratified_order
from dlreg.data.cifar import cifar10
from dlreg.data.digits import digits
from dlreg.data.idx import read_idx
from dlreg.data.image_folder import image_folder
from dlreg.data.mnist import mnist
from dlreg.data.npz import read_npz
from dlreg.errors import UserError
from dlreg.run.experiment import Experiment

COMMON = {"root": "", "download": False, "val_size": 0.1, "train_size": None, "labelled": None, "imbalance": 1.0,
          "folds": None, "fold": 0,
          "normalize": "unit",
          "label_noise": 0.0, "corruption": "none"}  # fmt: skip


def test_digits_are_scikit_learns(tmp_path):
    from sklearn.datasets import load_digits

    found, raw = digits(tmp_path, False), load_digits()
    assert len(found.train) == 1437
    assert len(found.test) == 360
    images = torch.cat([found.train.x, found.test.x]).flatten(1)
    expected = torch.from_numpy(raw.data).mul(255 / 16).round().to(torch.uint8)
    assert sorted(map(bytes, images.numpy())) == sorted(map(bytes, expected.numpy()))
    assert found.test.y.bincount().min() >= 34  # stratified


def test_mnist_reads_packed_and_unpacked_files_alike(data_root):
    found = mnist(data_root, False)
    assert found.train.x.shape == (40, 1, 28, 28)
    packed = data_root / "MNIST/raw/train-images-idx3-ubyte.gz"
    assert torch.equal(found.train.x.squeeze(1), read_idx(packed, 3))


@pytest.mark.skipif(
    not (SHARED / "MNIST").is_dir(), reason="the real MNIST is not beside the project (DLREG_TEST_DATA)"
)
def test_real_mnist():
    found = mnist(SHARED, False).checked("mnist")
    assert found.train.x.shape == (60000, 1, 28, 28)
    assert found.test.y.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.skipif(not (SHARED / "cifar10.npz").is_file(), reason="the real CIFAR-10 is not beside the project")
def test_real_cifar():
    found = cifar10(SHARED, False).checked("cifar10")
    assert found.train.y.bincount().tolist() == [5000] * 10
    mean = found.train.x[:5000].float().div(255).mean((0, 2, 3))
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=0.01)


def idx_bytes(magic=0x0803, shape=(2, 4, 4), body=None):
    head = struct.pack(">I" + "I" * len(shape), magic, *shape)
    return head + (bytes(int(np.prod(shape))) if body is None else body)


DAMAGED_IDX = {
    "empty": b"",
    "not idx": b"PK\3\4" + bytes(40),
    "wrong type": idx_bytes(magic=0x0D03),
    "wrong dimensions": idx_bytes(magic=0x0801),
    "zero images": idx_bytes(shape=(0, 4, 4)),
    "announces 2^32": idx_bytes(shape=(2**32 - 1, 2**32 - 1, 2**32 - 1), body=b""),
    "truncated": idx_bytes()[:-1],
    "header cut": idx_bytes()[:9],
    "too long": idx_bytes() + b"x",
}


@pytest.mark.parametrize("name", DAMAGED_IDX)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_is_refused(name, packed, tmp_path):
    path = tmp_path / ("file.gz" if packed else "file")
    path.write_bytes(gzip.compress(DAMAGED_IDX[name]) if packed else DAMAGED_IDX[name])
    with pytest.raises(UserError, match="file"):
        read_idx(path, 3)


def test_damaged_gzip_and_gzip_bomb_are_refused(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(idx_bytes(shape=(1, 100, 100)))[:-12])
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(path, 3)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(path, 3)
    with gzip.open(path, "wb") as file:  # 100 MB behind a header that announces 32 bytes
        file.write(idx_bytes(shape=(2, 4, 4)))
        for _ in range(100):
            file.write(bytes(1 << 20))
    with pytest.raises(UserError, match="more than"):
        read_idx(path, 3)


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"lacks MNIST/raw/train-images-idx3-ubyte.*data\.download=true"):
        mnist(tmp_path, False)
    with pytest.raises(UserError, match=r"cifar10\.npz"):
        cifar10(tmp_path, False)
    with pytest.raises(UserError, match=r"data\.npz does not exist"):
        read_npz(tmp_path / "data.npz")


def good_arrays():
    x = np.zeros((6, 8, 8, 3), np.uint8)
    return {"x_train": x, "y_train": np.arange(6) % 3, "x_test": x, "y_test": np.arange(6) % 3}


BAD_ARRAYS = {
    "missing": lambda a: a.pop("y_test"),
    "pickle": lambda a: a.update(y_train=np.array([{}] * 6, dtype=object)),
    "float labels": lambda a: a.update(y_train=np.zeros(6)),
    "shape": lambda a: a.update(x_train=np.zeros((6, 8, 8, 5), np.uint8)),
    "int images": lambda a: a.update(x_train=np.zeros((6, 8, 8), np.int64)),
    "lengths": lambda a: a.update(y_train=np.zeros(5, np.int64)),
    "negative label": lambda a: a.update(y_train=np.array([0, 1, 2, 0, 1, -100])),
    "shapes differ": lambda a: a.update(x_test=np.zeros((6, 9, 9, 3), np.uint8)),
    "nan": lambda a: a.update(x_train=np.full((6, 4), np.nan), x_test=np.zeros((6, 4))),
    "empty": lambda a: a.update(x_test=np.zeros((0, 8, 8, 3), np.uint8), y_test=np.zeros(0, np.int64)),
}


@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_bad_npz_is_refused(fault, tmp_path):
    arrays = good_arrays()
    BAD_ARRAYS[fault](arrays)
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(UserError):
        read_npz(tmp_path / "data.npz").checked("data")


def test_npz_layouts_agree(tmp_path):
    arrays = good_arrays()
    arrays["x_train"] = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "last.npz", **arrays)
    arrays |= {k: arrays[k].transpose(0, 3, 1, 2) for k in ("x_train", "x_test")}
    np.savez(tmp_path / "first.npz", **arrays)
    last, first = read_npz(tmp_path / "last.npz"), read_npz(tmp_path / "first.npz")
    assert torch.equal(last.train.x, first.train.x)
    assert last.classes == 3
    (tmp_path / "cut.npz").write_bytes((tmp_path / "last.npz").read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be read"):
        read_npz(tmp_path / "cut.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("x_train.npy", "text")
    with pytest.raises(UserError):
        read_npz(tmp_path / "text.npz")


def test_image_folder(data_root, tmp_path):
    found = image_folder(data_root, False, size=16, channels=3).checked("image_folder")
    assert found.train.x.shape == (40, 3, 16, 16)
    assert found.train.x.dtype == torch.uint8
    assert found.train.y.bincount().tolist() == [20, 20]
    with pytest.raises(UserError, match="cannot be read"):
        image_folder(tmp_path, False, size=16, channels=3)
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "x.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match="cannot be read"):
        image_folder(tmp_path, False, size=16, channels=3)


def labelled(counts):
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    x = torch.arange(len(y)).view(-1, 1).float()
    return Dataset(Split(x, y), Split(x[:5], y[:5]), len(counts))


@pytest.mark.parametrize(("val_size", "train_size"), [(0.1, None), (30, 60), (0.25, 0.5), (0, None), (1, 10)])
def test_the_split_is_stratified_disjoint_and_the_seeds(val_size, train_size):
    dataset = labelled([100, 60, 40])
    make = lambda seed: prepare(  # noqa: E731
        dataset, seed, torch.device("cpu"), **COMMON | {"val_size": val_size, "train_size": train_size}
    )
    data = make(0)
    train, val = set(data.train.x.flatten().tolist()), set(data.val.x.flatten().tolist())
    assert not train & val
    assert len(val) == (val_size if isinstance(val_size, int) else round(200 * val_size))
    assert len(train) == (200 - len(val) if train_size is None else round(train_size * (200 if train_size < 1 else 1)))
    for split in (data.train, data.val):
        for label, share in enumerate((0.5, 0.3, 0.2)):
            assert abs(int((split.y == label).sum()) - share * len(split)) <= 2
    assert torch.equal(make(0).train.x, data.train.x)
    assert not torch.equal(make(1).train.x, data.train.x)


def test_every_prefix_of_the_stratified_order_is_stratified():
    y = labelled([300, 150, 50]).train.y
    order = stratified_order(y, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(500))
    for n in (10, 37, 100, 499):
        shares = y[order[:n]].bincount(minlength=3) / n
        assert (shares - torch.tensor([0.6, 0.3, 0.1])).abs().max() <= 1.01 / n


def test_impossible_sizes_are_refused():
    for sizes in ({"val_size": 200}, {"val_size": 150, "train_size": 100}, {"train_size": 0}):
        with pytest.raises(UserError, match=r"data\.val_size"):
            prepare(labelled([100, 100]), 0, torch.device("cpu"), **COMMON | sizes)


def test_the_test_set_opens_once():
    sealed = SealedTest(Split(torch.zeros(1), torch.zeros(1)))
    sealed.open()
    with pytest.raises(RuntimeError, match="second time"):
        sealed.open()


def test_nothing_before_the_end_reads_the_test_set(settings, monkeypatch):
    """A reader of the test split before training is over would raise here."""
    events = []
    monkeypatch.setattr(SealedTest, "open", lambda self: (events.append("test"), self._split)[1])

    class Watch(Silent):
        def epoch(self, row):
            events.append(row["epoch"])

    Experiment.of(settings("reg=early_stopping")).run(Watch())
    assert events == [1, 2, "test"]
