"""Batched augmentation against torchvision's own transforms, image by image, at the same settings, in one process.

scripts/bench_aug.py    CIFAR-shaped data; the ratio is to torchvision's faster path, uint8 tensors or PIL images
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torchvision.transforms import v2

from dlreg.compose import compose
from dlreg.config import build
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, default=512, help="images per timing of torchvision")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    pixels = torch.randint(256, (given.images, 3, 32, 32), dtype=torch.uint8)
    pictures = [v2.functional.to_pil_image(image) for image in pixels]
    y = torch.eye(10)[torch.arange(given.batch) % 10]
    x = pixels[: given.batch].float() / 255
    print(f"images/s, best of {given.rounds}, {given.threads} threads, batch {given.batch}")
    print(f"{'':24}{'dlreg':>12}{'tensors':>12}{'PIL':>12}{'ratio':>8}")
    for name, (words, theirs) in CASES.items():
        ours = chain(*words)
        rates = best_rates(
            given.rounds,
            (20 * given.batch, lambda ours=ours: [ours.batch(nn.Identity(), x, y) for _ in range(20)]),
            (given.images, lambda theirs=theirs: [theirs(image) for image in pixels]),
            (given.images, lambda theirs=theirs: [theirs(image) for image in pictures]),
        )
        print(f"{name:24}" + "".join(f"{rate:12,.0f}" for rate in rates) + f"{rates[0] / max(rates[1:]):8.1f}")


def chain(*words: str) -> Chain:
    """The augmentations these overrides ask for, ready to run."""
    found = Chain({word: build("aug", node) for word, node in compose(words).aug.items()})
    context = Context(0, torch.device("cpu"), torch.full((3, 1, 1), 0.5))
    context.begin_epoch(0)
    found.begin("chain", context)
    return found


def best_rates(rounds: int, *works: tuple[int, Callable[[], object]]) -> list[float]:
    """Images per second of each, timed in turn: the best of several rounds."""
    best = [0.0] * len(works)
    for _ in range(rounds):
        for i, (images, work) in enumerate(works):
            started = time.perf_counter()
            work()
            best[i] = max(best[i], images / (time.perf_counter() - started))
    return best


if __name__ == "__main__":
    main()
