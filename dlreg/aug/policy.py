"""AutoAugment and its successors: operations drawn per image from one list, at strengths on one scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dlreg.aug import color, filters, geometry
from dlreg.aug.base import Augmentation, each
from dlreg.aug.geometry import Interpolation
from dlreg.hyper import Natural

FOURTEEN = 14  # operations of RandAugment and TrivialAugment
LEVELS = 10  # M and AutoAugment's table run from 0 to this and below this


@dataclass(frozen=True)
class Space:
    """What strength 1 stands for."""

    slope: float  # of a sheared axis
    shift: float  # as a fraction of the side
    degrees: float
    enhance: float  # the change of a factor around 1
    bits: int  # how many of 8 posterizing takes away


STANDARD = Space(slope=0.3, shift=150 / 331, degrees=30, enhance=0.9, bits=4)
WIDE = Space(slope=0.99, shift=1, degrees=135, enhance=0.99, bits=6)


MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")


class Operations:
    """The operations of Cubuk et al. (2019), table 6; RandAugment's and TrivialAugment's are all but the last.

    The sign of a strength says which way to move or which side of 1 a factor lies; the others take it as positive. Shearing
    leaves the top left corner where it is and shifts are by whole pixels, as theirs. Solarizing inverts the 8-bit levels from
    256 (1 - strength) on.
    """

    def __init__(self, space: Space, interpolation: Interpolation) -> None:
        self.space, self.interpolation = space, interpolation
        looks: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "brightness": lambda x, s: color.brightness(x, 1 + space.enhance * s),
            "color": lambda x, s: color.saturation(x, 1 + space.enhance * s),
            "contrast": lambda x, s: color.contrast(x, 1 + space.enhance * s),
            "sharpness": lambda x, s: filters.sharpness(x, 1 + space.enhance * s),
            "posterize": lambda x, s: color.posterize(x, 8 - (space.bits * s.abs()).round()),
            "solarize": lambda x, s: color.solarize(x, (1 - s.abs()) * (256 / 255)),
            "autocontrast": lambda x, s: color.autocontrast(x),
            "equalize": lambda x, s: color.equalize(x),
            "invert": lambda x, s: color.invert(x),
        }
        self.names = ["identity", *MOVES, *looks]
        # The moves are one map with five numbers: together they cost what one of them would.
        self._kernels: list[Callable[..., Tensor]] = [lambda x, s, moves: x, lambda x, s, moves: self._move(x, moves)]
        self._kernels += [lambda x, s, moves, look=look: look(x, s) for look in looks.values()]
        self._kernel = torch.tensor([0] + len(MOVES) * [1] + [2 + i for i in range(len(looks))])

    def __call__(self, x: Tensor, choice: Tensor, strength: Tensor) -> Tensor:
        """Image i through the operation `names[choice[i]]` at its strength; `choice` lies on the CPU."""
        moving = choice.unsqueeze(1) == torch.arange(1, 1 + len(MOVES))
        moves = moving.to(x, non_blocking=True) * strength.unsqueeze(1)
        return each(x, self._kernel[choice], self._kernels, strength, moves)

    def _move(self, x: Tensor, moves: Tensor) -> Tensor:
        shear_x, shear_y, right, down, turn = moves.unbind(1)
        height, width = x.shape[2:]
        shear = self.space.slope * shear_x, self.space.slope * shear_y
        shift = (self.space.shift * width * right).trunc(), (self.space.shift * height * down).trunc()
        return geometry.move(x, shear, shift, self.space.degrees * turn, self.interpolation)


class RandAugment(Augmentation):
    """n operations after one another, $$x <- o_n(...o_2(o_1(x)))$$, each drawn for each image from the fourteen (identity among
    them), at strength m / 10.

    Cubuk, Zoph, Shlens, Le (2020), section 3, https://arxiv.org/abs/1909.13719. m is on the paper's scale from 0 to 10;
    torchvision's magnitude 9 of 30 is m = 3. The two directions of a move, and darker and brighter, are equally likely, as
    there.
    Autocontrast and equalize have no strength: n = 0 leaves all as it is, m = 0 does not.
    """

    def __init__(
        self, *, n: Natural, m: Annotated[float, Field(ge=0, le=LEVELS)], interpolation: Interpolation
    ) -> None:
        self.n, self.strength = n, m / LEVELS
        self.operations = Operations(STANDARD, interpolation)

    def transform(self, x: Tensor) -> Tensor:
        """Each image through n operations of its own."""
        color.is_grey(x)  # raises, whatever will be drawn
        for _ in range(self.n):
            choice = torch.randint(FOURTEEN, (len(x),), generator=self.host_generator)
            x = self.operations(x, choice, self.strength * self.signs(x))
        return x

    def signs(self, x: Tensor) -> Tensor:
        """+1 or -1 per image."""
        return (self.uniform(x, -1, 1) >= 0).to(x.dtype).mul_(2).sub_(1)


class TrivialAugment(RandAugment):
    """One operation per image from the fourteen, $$x <- o(x)$$, at a strength drawn from 0, 1/30, ..., 1 of a wide range.

    Mueller & Hutter (2021), section 3 and table 2 ("wide"), https://arxiv.org/abs/2103.10158. There is nothing to tune.
    """

    turns = True  # by up to 135 degrees

    def __init__(self, *, interpolation: Interpolation) -> None:
        self.operations = Operations(WIDE, interpolation)

    def transform(self, x: Tensor) -> Tensor:
        """Each image through an operation of its own."""
        color.is_grey(x)  # raises, whatever will be drawn
        choice = torch.randint(FOURTEEN, (len(x),), generator=self.host_generator)
        strength = torch.randint(31, (len(x),), device=x.device, generator=self.generator).to(x.dtype) / 30
        return self.operations(x, choice, strength * self.signs(x))
