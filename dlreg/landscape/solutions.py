"""The loss around a trained model, or between two: over a plane of random directions, or along a line."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dlreg.errors import UserError

Weights = dict[str, Tensor]
Place = tuple[float, float]  # alpha, beta


@dataclass(frozen=True)
class Point:
    """Where on the plane or the line, and the mean loss and the fraction of errors there; of values there is none."""

    alpha: float
    beta: float
    loss: float
    error: float | None


def filter_normalized(model: nn.Module, seed: int) -> Weights:
    """A random direction whose every filter is as long as the model's: $$d_i <- d_i / ||d_i|| ||w_i||$$, d_i normal.

    Li, Xu, Taylor, Studer, Goldstein (2018), section 4, https://arxiv.org/abs/1712.09913. A filter is what makes one output
    channel of a convolution, or one unit of a linear layer. Biases and normalization parameters, which have one dimension,
    do not move; a filter of zeros does not either. Without the scaling a net with larger weights, which computes the same,
    would seem to lie in a flatter place.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, p in model.named_parameters():
        if p.dim() < 2:
            continue
        direction = torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device)
        dims = tuple(range(1, p.dim()))
        lengths = [torch.linalg.vector_norm(t, dim=dims, keepdim=True) for t in (p.detach(), direction)]
        found[name] = direction * (lengths[0] / lengths[1])
    return found


def between(first: nn.Module, second: nn.Module) -> Weights:
    """The direction that leads from one model to another at 1: every parameter moves, biases too.

    Goodfellow, Vinyals, Saxe (2015), section 2, https://arxiv.org/abs/1412.6544

    Raises:
        UserError: they are not of the same shape.
    """
    ours, theirs = dict(first.named_parameters()), dict(second.named_parameters())
    if {name: p.shape for name, p in ours.items()} != {name: p.shape for name, p in theirs.items()}:
        raise UserError("the two runs have models of different shapes: there is no line between them")
    return {name: theirs[name].detach() - p.detach() for name, p in ours.items()}


def walk(
    model: nn.Module,
    directions: Sequence[Weights],
    places: Sequence[Place],
    measure: Callable[[nn.Module], Mapping[str, Any]],
) -> Iterator[Point]:
    """What `measure` says of the model at $$w + alpha d_1 + beta d_2$$ for each (alpha, beta); the model stays as it was."""
    moved = copy.deepcopy(model)
    origin = {name: p.detach().clone() for name, p in moved.named_parameters()}
    for place in places:
        with torch.no_grad():
            for name, p in moved.named_parameters():
                shifts = [step * d[name] for step, d in zip(place, directions, strict=False) if name in d]
                p.copy_(sum(shifts, origin[name]))
        found = measure(moved)
        yield Point(*place, found["loss"], found.get("error"))


def plane(span: float, points: int) -> list[Place]:
    """A square grid from -span to span around the solution, `points` to a side."""
    side = torch.linspace(-span, span, points, dtype=torch.float64).tolist()
    return [(alpha, beta) for beta in side for alpha in side]


def line(span: float, points: int) -> list[Place]:
    """From -span before the first solution to span behind the second; the two themselves are on it."""
    inner = torch.linspace(-span, 1 + span, points, dtype=torch.float64).tolist()
    return [(alpha, 0.0) for alpha in sorted({*inner, 0.0, 1.0})]
