"""Optimizers on surfaces of two weights: the functions lectures draw, and the path an optimizer takes on one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from dlreg.context import derive_seed
from dlreg.optimizer.kernels import lean

LOST = 1e6  # a weight beyond this, or a loss that is not finite, has diverged


@dataclass(frozen=True)
class Surface:
    """A function of x and y, where to start, what to draw of it, and its least value."""

    formula: str
    value: Callable[[Tensor, Tensor], Tensor]
    start: tuple[float, float]
    window: tuple[tuple[float, float], tuple[float, float]]
    minima: tuple[tuple[float, float], ...]
    least: float = 0.0
    smoothness: float | None = None  # L, the largest curvature, of a convex quadratic


SURFACES = {
    "quadratic": Surface(
        "5 x² + y²/2", lambda x, y: 5 * x**2 + y**2 / 2, (-0.9, 2.5), ((-1.5, 1.5), (-1, 3)), ((0, 0),), smoothness=10.0
    ),
    "ravine": Surface(
        "x²/20 + 5 y²", lambda x, y: x**2 / 20 + 5 * y**2, (-8, 1), ((-9, 3), (-1.6, 1.6)), ((0, 0),), smoothness=10.0
    ),
    "saddle": Surface(
        "x² − y² + y⁴/4",
        lambda x, y: x**2 - y**2 + y**4 / 4,
        (1.5, 1e-3),
        ((-1.2, 1.8), (-2, 2)),
        ((0, -math.sqrt(2)), (0, math.sqrt(2))),
        least=-1.0,
    ),
    "beale": Surface(
        "[(1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²] / 20",
        lambda x, y: ((1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2) / 20,
        (1, 1.2),
        ((-0.5, 4.5), (-1.5, 1.8)),
        ((3, 0.5),),
    ),
    "rosenbrock": Surface(
        "[(1 − x)² + 100 (y − x²)²] / 100",
        lambda x, y: ((1 - x) ** 2 + 100 * (y - x**2) ** 2) / 100,
        (-1.2, 1),
        ((-1.8, 1.8), (-0.8, 2.2)),
        ((1, 1),),
    ),
}


@dataclass
class Path:
    """The points and losses before each step and after the last."""

    label: str
    lr: float
    points: list[tuple[float, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # above the least
    calls: list[int] = field(default_factory=list)  # evaluations of the loss so far
    diverged: bool = False

    def reached(self, tolerance: float) -> int | None:
        """The first step from which on the loss stays within `tolerance` of the least value."""
        outside = [t for t, loss in enumerate(self.losses) if not loss <= tolerance]
        first = outside[-1] + 1 if outside else 0
        return first if first < len(self.losses) and not self.diverged else None

    @property
    def rises(self) -> int:
        """Steps after which the loss was higher than before, by more than rounding."""
        return sum(b > a + 1e-15 for a, b in zip(self.losses, self.losses[1:], strict=False))


@dataclass(frozen=True)
class Walk:
    """How long, and with how much noise.

    `noise` is the standard deviation of what is added to each component of the gradient, the same within a step: the
    stand-in for a mini-batch.
    """

    steps: int
    noise: float = 0.0
    seed: int = 0


def descend(label: str, build: Callable[[list[Parameter]], Optimizer], surface: Surface, walk: Walk) -> Path:
    """Let an optimizer run from the surface's start, in double precision."""
    torch.manual_seed(walk.seed)
    generator = torch.Generator().manual_seed(derive_seed(walk.seed, "landscape"))
    w = Parameter(torch.tensor(surface.start, dtype=torch.float64))
    optimizer = lean(build([w]))
    order, calls = getattr(optimizer, "order", 1), 0
    path = Path(label, optimizer.param_groups[0]["lr"])

    for _ in range(walk.steps + 1):
        x, y = w.tolist()
        value = float(surface.value(*w.detach().unbind())) - surface.least
        path.diverged = not (math.isfinite(value) and abs(x) < LOST and abs(y) < LOST)
        if path.diverged:
            break
        path.points.append((x, y))
        path.losses.append(max(value, 0.0))
        path.calls.append(calls)
        tilt = walk.noise * torch.randn(2, generator=generator, dtype=torch.float64) if walk.noise else None

        def closure(tilt: Tensor | None = tilt) -> Tensor:
            nonlocal calls
            calls += 1
            noisy = surface.value(*w.unbind())
            if tilt is not None:
                noisy = noisy + tilt @ w
            if order:
                (w.grad,) = torch.autograd.grad(noisy, w, create_graph=order > 1)
            return noisy

        optimizer.step(closure)  # type: ignore[arg-type]  # as in the training loop
    return path
