"""Turning, shifting, zooming and slanting."""

from __future__ import annotations

from torch import Tensor

from dlreg.aug import geometry
from dlreg.aug.base import Augmentation
from dlreg.aug.geometry import Interpolation
from dlreg.hyper import Decay, NonNegative, Slant


class Rotate(Augmentation):
    """Each image is turned about its centre by an angle a from U(-degrees, degrees); 0 outside:
    $$x(u, v) <- x(u cos a + v sin a, v cos a - u sin a)$$.

    Simard, Steinkraus, Platt (2003), section 2, https://doi.org/10.1109/ICDAR.2003.1227801. As torchvision's RandomRotation,
    whose interpolation is nearest unless told otherwise.
    """

    def __init__(self, *, degrees: NonNegative, interpolation: Interpolation) -> None:
        self.degrees, self.interpolation = degrees, interpolation

    @property
    def turns(self) -> bool:
        """Beyond an eighth of a turn."""
        return self.degrees > 45

    def transform(self, x: Tensor) -> Tensor:
        """Turn every image by its own angle."""
        if not self.degrees:
            return x
        return geometry.rotate(x, self.uniform(x, -self.degrees, self.degrees), self.interpolation)


class Translate(Augmentation):
    """Each image is shifted along both axes, by fractions of a pixel too: $$x(r) <- x(r - d)$$, both parts of d from
    U(-pixels, pixels); 0 outside.

    Simard, Steinkraus, Platt (2003), section 2, https://doi.org/10.1109/ICDAR.2003.1227801
    """

    def __init__(self, *, pixels: NonNegative, interpolation: Interpolation) -> None:
        self.pixels, self.interpolation = pixels, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Shift every image by its own amount."""
        if not self.pixels:
            return x
        right, down = (self.uniform(x, -self.pixels, self.pixels) for _ in range(2))
        return geometry.translate(x, right, down, self.interpolation)


class Scale(Augmentation):
    """Each image is magnified about its centre, $$x(r) <- x(r / f), f ~ U(1 - amount, 1 + amount)$$; 0 outside.

    Ciresan, Meier, Gambardella, Schmidhuber (2010), https://arxiv.org/abs/1003.0358 (15 to 20 % on MNIST)
    """

    def __init__(self, *, amount: Decay, interpolation: Interpolation) -> None:
        self.amount, self.interpolation = amount, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Zoom every image by its own factor."""
        if not self.amount:
            return x
        factor = self.uniform(x, 1 - self.amount, 1 + self.amount)
        return geometry.stretch(x, factor, factor, self.interpolation)


class Stretch(Augmentation):
    """Each image is stretched along each axis by a factor of its own, $$x(u, v) <- x(u / f, v / g)$$ with f and g from
    U(1 - amount, 1 + amount); 0 outside.

    Ciresan, Meier, Gambardella, Schmidhuber (2010), https://arxiv.org/abs/1003.0358, where horizontal and vertical
    scaling are drawn separately
    """

    def __init__(self, *, amount: Decay, interpolation: Interpolation) -> None:
        self.amount, self.interpolation = amount, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Stretch every image by its own two factors."""
        if not self.amount:
            return x
        across, down = (self.uniform(x, 1 - self.amount, 1 + self.amount) for _ in range(2))
        return geometry.stretch(x, across, down, self.interpolation)


class Shear(Augmentation):
    """Each image is slanted about its centre along both axes, $$x(r) <- x(S^-1 r)$$, by angles from
    U(-degrees, degrees); 0 outside.

    Simard, Steinkraus, Platt (2003), section 2 ("skewing"), https://doi.org/10.1109/ICDAR.2003.1227801. The matrix is that of
    torchvision's affine(shear=[across, down]).
    """

    def __init__(self, *, degrees: Slant, interpolation: Interpolation) -> None:
        self.degrees, self.interpolation = degrees, interpolation

    def transform(self, x: Tensor) -> Tensor:
        """Slant every image by its own two angles."""
        if not self.degrees:
            return x
        across, down = (self.uniform(x, -self.degrees, self.degrees) for _ in range(2))
        return geometry.shear(x, across, down, self.interpolation)
