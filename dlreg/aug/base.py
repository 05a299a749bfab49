"""What augmentations share: the check that samples are images, random numbers per image, and one operation per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.reg.base import Regularizer


class Augmentation(Regularizer):
    """A random change of every image, each with parameters of its own, that leaves the labels alone."""

    stream = "augment"
    needs_unit = True
    needs_color = False  # it leaves grey images as they are

    @property
    def turns(self) -> bool:
        """Whether it mirrors images or turns them so far that a character may become another one."""
        return False

    @property
    def host_generator(self) -> torch.Generator:
        """This technique's random numbers on the CPU, for what the host must know: which images share an operation."""
        return self.context.generator(f"{self.stream}/{self.name}", "cpu")

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Change the images."""
        return self.transform(self.images(x)), y

    def transform(self, x: Tensor) -> Tensor:
        """Change every image of `(N, C, H, W)`, values in [0, 1]."""
        raise NotImplementedError

    def images(self, x: Tensor) -> Tensor:
        """`x`, if it is a batch of images."""
        if x.dim() != 4:
            raise UserError(
                f"aug={self.name} needs images (channels, height, width), not samples of {tuple(x.shape[1:])}"
            )
        return x

    def uniform(self, x: Tensor, low: float, high: float) -> Tensor:
        """One number per image from U(low, high)."""
        return torch.rand(len(x), device=x.device, dtype=x.dtype, generator=self.generator).mul_(high - low).add_(low)

    def choose(self, x: Tensor, p: float) -> Tensor:
        """`(N, 1, 1, 1)`: which images are changed, each with probability p."""
        return per_image(self.uniform(x, 0, 1) < p)

    def remark(self) -> str | None:
        """That it had no colour to act on, or that it may have changed what an image shows."""
        if self.needs_color and self.context.pixel_mean.numel() == 1:
            return f"aug={self.name} changed nothing: the images are grey"
        if self.turns and self.context.upright:
            return f"aug={self.name} may change the class of these images: a 6 upside down is a 9, a mirrored 2 is no digit"
        return None


def per_image(values: Tensor) -> Tensor:
    """`(N,)` -> `(N, 1, 1, 1)`, to broadcast over an image."""
    return values.view(-1, 1, 1, 1)


def select(chosen: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """`yes` where chosen, else `no`, both finite. A weight of 0 or 1 gives one end exactly, and on a CPU several times faster
    than torch.where.
    """
    return torch.lerp(no, yes, chosen.to(no.dtype))


def each(x: Tensor, choice: Tensor, operations: Sequence[Callable[..., Tensor]], *parameters: Tensor) -> Tensor:
    """Image i through `operations[choice[i]](images, *parameters)`, with its own entries of the `(N,)` parameters.

    The batch is sorted by operation, so that each runs once, on all of its images. `choice` lies on the CPU: the sizes of
    the groups are known without waiting for the device.
    """
    order = choice.argsort(stable=True)
    there, back = torch.stack([order, order.argsort()]).to(x.device, non_blocking=True)
    sizes = choice.bincount(minlength=len(operations)).tolist()
    groups = [values.index_select(0, there).split(sizes) for values in (x, *parameters)]
    changed = [operation(*own) for operation, *own in zip(operations, *groups, strict=True) if len(own[0])]
    return torch.cat(changed).index_select(0, back)
