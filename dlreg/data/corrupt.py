"""Damage done to a data set on purpose: label noise, and the randomization tests of memorization."""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor

from dlreg.context import derive_seed

Corruption = Literal["none", "random_labels", "shuffled_pixels", "random_pixels", "gaussian"]
CHUNK = 4096


def noisy_labels(labels: Tensor, classes: int, rate: float, seed: int) -> Tensor:
    """Each label, with probability `rate`, becomes one of the other classes, each as likely (symmetric noise).

    `rate` is the share of wrong labels; a paper that redraws from *all* classes with probability r has rate r (K - 1) / K.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "label_noise"))
    hit = torch.rand(len(labels), generator=generator, dtype=torch.float64) < rate
    other = (labels + torch.randint(1, classes, labels.shape, generator=generator)) % classes
    return torch.where(hit, other, labels)


def random_labels(labels: Tensor, classes: int) -> Tensor:
    """Uniform draws in place of the labels, the same for every run (see `corrupted_pixels`)."""
    return torch.randint(classes, labels.shape, generator=_generator("random_labels"))


@functools.lru_cache(maxsize=1)  # the rehearsal, the run and the rows of a sweep share it
def corrupted_pixels(kind: Corruption, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Training and test inputs `(N, C, H, W)` or `(N, D)` of a randomization test.

    Zhang, Bengio, Hardt, Recht, Vinyals (2017), section 2.1, https://arxiv.org/abs/1611.03530. shuffled_pixels: one
    permutation of the positions for all images. random_pixels: a permutation of its own for each image. gaussian: every
    pixel is drawn with the mean and variance of the training pixels (bytes are rounded and kept in range, which narrows
    them a little). A permutation moves a pixel's channels together; the paper does not say. Nothing depends on the run's
    seed: as in the paper the damage is done once, and every epoch and every run sees the same data set.
    """
    generator = _generator(kind)
    if kind == "shuffled_pixels":
        order = torch.randperm(_flat(train).shape[2], generator=generator)
        return _flat(train)[:, :, order].view_as(train), _flat(test)[:, :, order].view_as(test)
    if kind == "random_pixels":
        return _scattered(train, generator), _scattered(test, generator)
    if kind == "gaussian":
        mean, sd = _mean_and_sd(train)
        return _gaussian(train, mean, sd, generator), _gaussian(test, mean, sd, generator)
    return train, test


def _generator(kind: Corruption) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(0, f"corruption/{kind}"))


def _flat(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H W); features (N, D) -> (N, 1, D)."""
    return x.flatten(2) if x.dim() > 2 else x.unsqueeze(1)


def _scattered(x: Tensor, generator: torch.Generator) -> Tensor:
    parts = []
    for part in _flat(x).split(CHUNK):
        order = torch.rand(len(part), 1, part.shape[2], generator=generator).argsort(2)
        parts.append(part.gather(2, order.expand_as(part)))
    return torch.cat(parts).view_as(x)


def _gaussian(x: Tensor, mean: float, sd: float, generator: torch.Generator) -> Tensor:
    def draw(part: Tensor) -> Tensor:
        noise = torch.empty(part.shape).normal_(mean, sd, generator=generator)
        return noise.to(x.dtype) if x.is_floating_point() else noise.round_().clamp_(0, 255).to(x.dtype)

    return torch.cat([draw(part) for part in x.split(CHUNK)])


def _mean_and_sd(x: Tensor) -> tuple[float, float]:
    parts = x.split(CHUNK)
    mean = sum(float(part.double().sum()) for part in parts) / x.numel()
    square = sum(float(part.double().square().sum()) for part in parts) / x.numel()
    return mean, max(square - mean**2, 0.0) ** 0.5
