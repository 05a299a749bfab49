"""Brightness, contrast, saturation and hue."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from dlreg.aug import color
from dlreg.aug.base import Augmentation, per_image
from dlreg.hyper import NonNegative

HalfTurn = Annotated[float, Field(ge=0, le=0.5)]


def factor(part: Augmentation, x: Tensor, strength: float) -> Tensor:
    """One factor per image from U(max(0, 1 - strength), 1 + strength), as torchvision's ColorJitter."""
    return part.uniform(x, max(0.0, 1 - strength), 1 + strength)


class Brightness(Augmentation):
    """$$x <- f x$$ with $f ~ U(1 - strength, 1 + strength)$, not below 0, clamped to [0, 1].

    Howard (2013), section 2, https://arxiv.org/abs/1312.5402
    """

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Darken or brighten every image."""
        return color.brightness(x, factor(self, x, self.strength)) if self.strength else x


class Contrast(Augmentation):
    """$$x <- m + f (x - m)$$, with m the image's mean grey and $f ~ U(1 - strength, 1 + strength)$, not below 0.

    Howard (2013), section 2, https://arxiv.org/abs/1312.5402
    """

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Flatten or deepen every image."""
        return color.contrast(x, factor(self, x, self.strength)) if self.strength else x


class Saturation(Augmentation):
    """$$x <- g + f (x - g)$$, with g the image in grey and $f ~ U(1 - strength, 1 + strength)$, not below 0.

    Howard (2013), section 2 ("color"), https://arxiv.org/abs/1312.5402. Grey images stay as they are.
    """

    needs_color = True

    def __init__(self, *, strength: NonNegative) -> None:
        self.strength = strength

    def transform(self, x: Tensor) -> Tensor:
        """Fade or intensify every image's colours."""
        return color.saturation(x, factor(self, x, self.strength)) if self.strength else x


class Hue(Augmentation):
    """The hue of HSV is turned by a part of the colour circle, $$h <- h + U(-turn, turn)$$; 0.5 is half of it, the
    complementary colours.

    Dosovitskiy, Fischer, Springenberg, Riedmiller, Brox (2014), section 2, https://arxiv.org/abs/1406.6909. Grey images stay
    as they are.
    """

    needs_color = True

    def __init__(self, *, turn: HalfTurn) -> None:
        self.turn = turn

    def transform(self, x: Tensor) -> Tensor:
        """Turn every image's hue."""
        return color.hue(x, self.uniform(x, -self.turn, self.turn)) if self.turn else x


class ColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue, each by a factor of its own, in a random order,
    $$x <- o_4(o_3(o_2(o_1(x))))$$: all drawn per image.

    As torchvision's ColorJitter; used so by Chen, Kornblith, Norouzi, Hinton (2020), appendix A,
    https://arxiv.org/abs/2002.05709
    """

    def __init__(
        self, *, brightness: NonNegative, contrast: NonNegative, saturation: NonNegative, hue: HalfTurn
    ) -> None:
        self.strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}

    def transform(self, x: Tensor) -> Tensor:
        """Jitter every image in its own order: what comes before its hue, the hue of all, what comes after."""
        names = [name for name, strength in self.strengths.items() if strength]
        if not names:
            return x
        factors = torch.stack([self._factor(x, name) for name in names], 1)
        order = torch.rand(len(x), len(names), generator=self.host_generator).argsort(1).to(x.device, non_blocking=True)
        kinds = {name: order == i for i, name in enumerate(names)}
        own = factors.gather(1, order)
        if "hue" not in names:
            return lighten(x, own, kinds)
        turned = kinds["hue"].cumsum(1)
        before, after = torch.where(turned == 0, own, 1), torch.where((turned == 1) & ~kinds["hue"], own, 1)
        # Nothing is before the hue in the last place, nor after it in the first.
        x = lighten(x, before[:, :-1], {name: chosen[:, :-1] for name, chosen in kinds.items()})
        x = color.hue(x, factors[:, names.index("hue")])
        return lighten(x, after[:, 1:], {name: chosen[:, 1:] for name, chosen in kinds.items()})

    def _factor(self, x: Tensor, name: str) -> Tensor:
        strength = self.strengths[name]
        return self.uniform(x, -strength, strength) if name == "hue" else factor(self, x, strength)


def lighten(x: Tensor, factors: Tensor, kinds: dict[str, Tensor]) -> Tensor:
    """One after the other, blend each image with black or, where `kinds` says so, with its mean grey or its grey; `(N, k)`.

    All three are blends, and a factor of 1 leaves an image as it is. So the batch goes through each as a whole: sorting it by
    operation, as `each` does, takes longer than the blends and several copies of the batch.
    """
    nobody = torch.zeros_like(factors, dtype=torch.bool)
    faded, flat = (kinds.get(name, nobody).to(x.dtype) for name in ("saturation", "contrast"))
    if color.is_grey(x):
        factors = torch.where(faded > 0, 1, factors)
    x = x.clone()
    for f, by_grey, by_mean in zip(factors.unbind(1), faded.unbind(1), flat.unbind(1), strict=True):
        grey = color.grey(x)
        other = grey * per_image(by_grey) + grey.mean((1, 2, 3), keepdim=True) * per_image(by_mean)
        x.mul_(per_image(f)).add_(other * per_image(1 - f)).clamp_(0, 1)
    return x
