"""`scripts/bench aug`: batched augmentation against torchvision's own transforms, image by image, at the same settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torchvision.transforms import v2

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.context import Context
from dlreg.reg.base import Chain

BILINEAR = v2.InterpolationMode.BILINEAR
CROP_FLIP = (v2.RandomCrop(32, 4), v2.RandomHorizontalFlip())
CASES = {
    "crop+flip": (("aug=[crop,flip]",), v2.Compose(CROP_FLIP)),
    "color jitter": (("aug=color_jitter",), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)),
    "crop+flip+RandAugment": (
        ("aug=[crop,flip,randaugment]", "aug.randaugment.n=2", "aug.randaugment.m=3"),
        v2.Compose([*CROP_FLIP, v2.RandAugment(2, 9)]),
    ),
    "rotation, nearest": (("aug=rotate", "aug.rotate.interpolation=nearest"), v2.RandomRotation(15)),
    "rotation, bilinear": (("aug=rotate",), v2.RandomRotation(15, interpolation=BILINEAR)),
}


BATCH, IMAGES, THREADS = 128, 512, 2
TURN = 0.3  # seconds of one side before it is the other's turn


def aug(rounds: int) -> None:
    """CIFAR-shaped data, one process; the ratio is to torchvision's faster path, uint8 tensors or PIL images."""
    torch.set_num_threads(THREADS)
    pixels = torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pictures = [v2.functional.to_pil_image(image) for image in pixels]
    batches = (pixels.float() / 255).split(BATCH)
    y = torch.eye(10)[torch.arange(BATCH) % 10]
    print(f"images/s, best of {rounds} turns of {TURN} s; {THREADS} threads, batch {BATCH}")
    print(f"{'':24}{'dlreg':>12}{'tensors':>12}{'PIL':>12}{'ratio':>8}")
    for name, (words, theirs) in CASES.items():
        ours = chain(*words)
        rates = best_rates(
            rounds,
            (lambda x, ours=ours: ours.batch(nn.Identity(), x, y), batches),
            (theirs, pixels),
            (theirs, pictures),
        )
        print(f"{name:24}" + "".join(f"{rate:12,.0f}" for rate in rates) + f"{rates[0] / max(rates[1:]):8.1f}")


def chain(*words: str) -> Chain:
    """The augmentations these overrides ask for, ready to run."""
    found = Chain({word: build("aug", node) for word, node in compose(words).aug.items()})
    context = Context(0, torch.device("cpu"), torch.full((3, 1, 1), 0.5))
    context.begin_epoch(0)
    found.begin("chain", context)
    return found


def best_rates(rounds: int, *sides: tuple[Callable[[object], object], Sequence[object]]) -> list[float]:
    """Images per second of each side, timed in turn; as in training, no result is kept."""
    best = [0.0] * len(sides)
    for _ in range(rounds):
        for i, (work, inputs) in enumerate(sides):
            started, passes = time.perf_counter(), 0
            while time.perf_counter() - started < TURN:
                for x in inputs:
                    work(x)
                passes += 1
            best[i] = max(best[i], passes * IMAGES / (time.perf_counter() - started))
    return best
