"""What a data source returns, and how it becomes the training, validation and test sets of one run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from dlreg.context import derive_seed
from dlreg.data.corrupt import Corruption, corrupted_pixels, noisy_labels, random_labels
from dlreg.data.imbalance import long_tail
from dlreg.data.normalize import channel_mean, normalization
from dlreg.data.sizes import Folds, Size, count, held_out
from dlreg.data.task import Classes, Task, Values, word_of
from dlreg.errors import UserError, shown
from dlreg.hyper import Fraction, Natural, Survival

Normalize = Literal["none", "unit", "standardize", "per_pixel", "per_image", "whiten"]


@dataclass(frozen=True)
class Split:
    """x: uint8 images `(N, C, H, W)`, or float features of any shape. y: classes `(N,)` int64, or values `(N, K)` floats."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Tensor | slice) -> Split:
        return Split(self.x[index], self.y[index])

    def to(self, device: torch.device) -> Split:
        """The same samples on `device`."""
        return Split(self.x.to(device), self.y.to(device))

    def floats(self, dtype: torch.dtype) -> Split:
        """The same samples, with floats of this type; bytes and classes stay what they are."""
        return Split(*(t.to(dtype) if t.is_floating_point() else t for t in (self.x, self.y)))


@dataclass(frozen=True)
class Dataset:
    """What a source returns: the official training and test splits, on the CPU. Float targets make it a regression.

    Raises:
        UserError: from `checked`, when sizes, types or labels cannot be right.
    """

    train: Split
    test: Split
    classes: int
    upright: bool = False  # a mirrored or turned image may be of another class: characters
    names: tuple[str, ...] = ()  # of the classes, where they have other names than their numbers
    truth: Tensor | None = None  # the test values without their noise, `(N, K)`, where they are known

    def checked(self, where: str) -> Dataset:
        """Self, if images are uint8 `(N, C, H, W)` or finite floats and every label is a class with training samples, or all
        targets are as many finite values."""
        for name, split in (("train", self.train), ("test", self.test)):
            if len(split.x) != len(split.y):
                raise UserError(f"{where}: {name} has {len(split.x)} samples but {len(split.y)} labels")
            if not split.x.numel():
                raise UserError(f"{where}: {name} is empty: its samples have the shape {tuple(split.x.shape)}")
            if word_of(split.y) == "values" and split.y.shape[1:] != (self.classes,):
                raise UserError(
                    f"{where}: {name} has targets of the shape {tuple(split.y.shape)}; allowed: (N, {self.classes}), "
                    "or of classes whole numbers (N,)"
                )
            if any(t.is_floating_point() and not bool(t.isfinite().all()) for t in (split.x, split.y)):
                raise UserError(f"{where}: {name} has NaN or infinite values")
            low, high = float(split.y.min()), float(split.y.max())
            if word_of(split.y) == "classes" and (low < 0 or high >= self.classes):
                raise UserError(
                    f"{where}: {name} labels run from {low:g} to {high:g}; allowed: 0 to {self.classes - 1}"
                )
        if word_of(self.train.y) == "classes" and (
            unseen := sorted(set(self.test.y.unique().tolist()) - set(self.train.y.unique().tolist()))
        ):
            raise UserError(f"{where}: test has labels that training lacks: {shown(unseen)}")
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            shapes = f"{tuple(self.train.x.shape[1:])} and {tuple(self.test.x.shape[1:])}"
            raise UserError(f"{where}: training and test samples differ in shape: {shapes}")
        if self.truth is not None and self.truth.shape != self.test.y.shape:
            raise UserError(f"{where}: truth has the shape {tuple(self.truth.shape)}, not {tuple(self.test.y.shape)}")
        return self


Source = TypeVar("Source", bound=Callable[..., Dataset])


def reads(files: Callable[..., list[Path]], official: Collection[str] = ()) -> Callable[[Source], Source]:
    """Say which files a source reads: `files(root, **hyperparameters)`. Their content is part of a run's identity.

    Not so if the SHA-256 of each is among `official`, those of a published set, or if there is none: then the name says
    what was read. A source without this mark is known by the samples it returns.
    """

    def mark(source: Source) -> Source:
        marked: Any = source
        marked.files, marked.official = files, frozenset(official)
        return source

    return mark


def generated(source: Source) -> Source:
    """Say that a source reads nothing: its hyperparameters say all about the samples that it makes."""
    marked: Any = reads(lambda root, **hyperparameters: [])(source)
    marked.generated = True
    return marked


class SealedTest:
    """The test split, behind a counter: reading it twice in one run is an error of ours, not a warning."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self.reads = 0

    def open(self) -> Split:
        """The split, once."""
        self.reads += 1
        if self.reads > 1:
            raise RuntimeError("the test set was read a second time in one run")
        return self._split


@dataclass(frozen=True)
class Data:
    """The sets of one run, on its device. `val` may be empty; `test` opens once."""

    train: Split
    val: Split
    test: SealedTest
    classes: int  # or, of values, how many a sample has
    pixel_mean: Tensor  # of `train`, per channel: (C, 1, 1)
    normalization: nn.Module  # from pixels in [0, 1] to what the model sees; statistics of `train` only
    upright: bool = False  # as in Dataset
    pool: Tensor | None = None  # samples to train on without a label
    dtype: torch.dtype | None = None  # of the arithmetic; None: torch's default
    truth: Tensor | None = None  # the test values without their noise, where they are known

    @property
    def task(self) -> Task:
        """What is asked for."""
        if word_of(self.train.y) == "values":
            return Values()
        return Classes(self.classes, self.train.y.device, self.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.train.x.shape[1:])


def prepare(
    dataset: Dataset,
    seed: int,
    device: torch.device,
    *,
    root: str,
    download: bool,
    val_size: Size,
    folds: Folds | None,
    fold: Natural,
    train_size: Size | None,
    imbalance: Survival,
    labelled: Size | None,
    normalize: Normalize,
    label_noise: Fraction,
    corruption: Corruption,
) -> Data:
    """Split off a stratified validation set, cut the rest to `train_size`, take the normalization from what is left.

    A size below 1 is a fraction of the official training split, a whole number a count. The split depends on the seed
    alone, so rows of a table that share a seed share it. With `folds` the validation set is part number `fold` of so many
    (cross-validation; `val_size` is not used). `imbalance` < 1 makes the training set, and it alone, long-tailed:
    its last class has that part of the samples of its first (`long_tail`). Of what is left `labelled` samples, stratified
    as well, keep their labels; an epoch goes over these, and the others are the pool of techniques that need no label.
    `label_noise` and `corruption=random_labels` change the labels that are trained on; validation and test labels stay
    true. The other corruptions change all images.
    """
    del root, download  # these were for the source
    generator = torch.Generator().manual_seed(derive_seed(seed, "split"))
    n = len(dataset.train)
    first, last = held_out(n, val_size, folds, fold)
    n_val = last - first
    n_train = n - n_val if train_size is None else count(train_size, n)
    if n_train < 1 or n_val + n_train > n:
        held = f"val_size={val_size}" if folds is None else f"folds={folds}"
        raise UserError(f"data.{held} and data.train_size={train_size} ask for {n_val} + {n_train} of {n} samples")
    order = stratified_order(dataset.train.y, generator)
    rest = torch.cat([order[:first], order[last:]])
    labels = dataset.train.y
    if word_of(labels) == "values" and (label_noise or corruption == "random_labels"):
        wrong = "corruption=random_labels" if corruption == "random_labels" else f"label_noise={label_noise}"
        raise UserError(f"data.{wrong} draws other classes, and this data set has values: leave it out")
    if corruption == "random_labels":
        labels = random_labels(labels, dataset.classes)
    if word_of(labels) == "classes":
        labels = noisy_labels(labels, dataset.classes, label_noise, seed)
    x, test_x = corrupted_pixels(corruption, dataset.train.x, dataset.test.x)
    chosen = rest[:n_train]
    if imbalance < 1:
        if word_of(labels) == "values":
            raise UserError(f"data.imbalance={imbalance} thins out classes, and this data set has values: leave it out")
        chosen = chosen[long_tail(dataset.train.y[chosen], dataset.classes, imbalance)]
        chosen = chosen[stratified_order(dataset.train.y[chosen], generator)]
        n_train = len(chosen)
    train, val = Split(x, labels)[chosen], Split(x, dataset.train.y)[order[first:last]]
    n_labelled = n_train if labelled is None else count(labelled, n_train)
    if labelled is not None and not min(dataset.classes, n_train) <= n_labelled <= n_train:
        raise UserError(
            f"data.labelled={labelled} asks for {n_labelled} of {n_train} samples; allowed: {dataset.classes} "
            f"(one of each class) to {n_train}"
        )
    return Data(
        Split(train.x[:n_labelled], train.y[:n_labelled]).to(device),
        val.to(device),
        SealedTest(Split(test_x, dataset.test.y)),
        dataset.classes,
        channel_mean(train.x).to(device),
        normalization(normalize, train.x).to(device),
        dataset.upright,
        train.x[n_labelled:].to(device) if n_labelled < n_train else None,
        truth=dataset.truth,
    )


def stratified_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of the samples of which every prefix holds the classes in their overall proportions (to one each).

    Each class is shuffled and its members spread evenly over [0, 1), with a random offset for the class; the order is
    by that position. Values have no proportions: any order.
    """
    if word_of(labels) == "values":
        return torch.randperm(len(labels), generator=generator)
    position = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        ranks = torch.randperm(len(members), generator=generator).double()
        position[members] = (ranks + torch.rand(1, generator=generator).double()) / len(members)
    return position.argsort(stable=True)
