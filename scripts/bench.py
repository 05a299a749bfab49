"""Speed, as ratios of things timed alternately in one process. Absolute figures depend on the machine; ratios travel.

scripts/bench loop    dlreg's training loop against a bare hand-written PyTorch loop with one thread or all, whichever is faster
scripts/bench reg     each regularizer's cost per step as a ratio to reg=none
scripts/bench aug     batched augmentation against torchvision's transforms, image by image, at the same settings
scripts/bench scale   what grows with epochs, samples, batch, width, depth, seeds and folders: whole processes
scripts/bench optim   a step of each of dlreg's own optimizers against one of torch's foreach Adam, on an MLP
"""

from __future__ import annotations

import argparse

import bench_aug
import bench_loop
import bench_optim
import bench_reg
import bench_scale

from dlreg.run.allocator import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loop", "reg", "aug", "optim", "scale"])
    parser.add_argument("--images", type=int, default=20_000, help="loop: training images per epoch")
    parser.add_argument("--epochs", type=int, default=2, help="loop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        help="reg: these options alone; loop: networks whose names hold one of these; scale: these axes",
    )
    given = parser.parse_args()
    if given.what != "loop":  # whose sides have processes of their own
        keep_freed_memory()  # as a run does
    if given.what == "reg":
        bench_reg.reg(bench_loop.fake_mnist(1000), 10 * given.rounds, given.only)
    elif given.what == "aug":
        bench_aug.aug(given.rounds)
    elif given.what == "optim":
        bench_optim.optim(given.rounds)
    elif given.what == "scale":
        bench_scale.scale(given.only)
    else:
        bench_loop.loop(given.images, given.epochs, given.rounds, given.only)


if __name__ == "__main__":
    main()
