"""What a trained model looks like: its weights as histograms, its first layer as images, its decisions on a plane."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn

from dlreg.data.base import Split
from dlreg.data.normalize import to_unit
from dlreg.model.blocks import plain_name, weight_layers, weights
from dlreg.passes import device_of
from dlreg.reg.predict import logits
from dlreg.report.frame import COLOURS
from dlreg.report.svg import Chart
from dlreg.run.reopen import Opened

FILTERS, LAYERS = 32, 24  # the most that are drawn
GRID = 120  # points to a side of a plane of decisions
DOTS = 1000  # samples on it, at most
SMALL = (240, 150)


def one_model(model: nn.Module) -> nn.Module:
    """The model, or the first member of a committee."""
    while isinstance(members := getattr(model, "members", None), nn.ModuleList):
        model = members[0]
    return model


def histograms(model: nn.Module) -> list[tuple[str, Markup]]:
    """Of the weights of each layer as they act, biases and normalization left out: name and spread, and the picture."""
    found = []
    for acting in weights(one_model(model))[:LAYERS]:
        values = acting.value.detach().float().flatten().cpu().numpy()
        name = plain_name(acting.name)
        counts, edges = np.histogram(values, 40)
        chart = Chart(
            f"histogram of {name}: {len(values):,} weights from {values.min():.3g} to {values.max():.3g}",
            (float(edges[0]), float(edges[-1])), (0.0, float(counts.max())), ("weight", ""), SMALL,
        )  # fmt: skip
        chart.bars(edges.tolist(), counts.tolist())
        found.append((f"{name}: {len(values):,}, sd {values.std():.3g}", chart.svg()))
    return found


def filters(opened: Opened) -> list[tuple[str, Markup]]:
    """The first layer's filters as images, those of the largest norms first; zero is grey. None if they are no images."""
    layers = weight_layers(one_model(opened.model))
    shape = opened.data.shape
    if not layers or len(shape) != 3:
        return []
    kernel = torch.as_tensor(layers[0].weight).detach().float().cpu()
    kernel = kernel.view(len(kernel), *shape) if kernel.dim() == 2 and kernel.shape[1] == np.prod(shape) else kernel
    if kernel.dim() != 4 or kernel.shape[1] not in (1, 3):
        return []
    order = kernel.flatten(1).norm(dim=1).argsort(descending=True)[:FILTERS]
    scaled = kernel / (2 * kernel.flatten(1).abs().amax(1).clamp(min=1e-12).view(-1, 1, 1, 1)) + 0.5
    return [(f"unit {i}", picture(scaled[i], f"weights of unit {i}", 56)) for i in order.tolist()]


def picture(image: Tensor, label: str, side: int = 84) -> Markup:
    """An image `(C, H, W)` in [0, 1] as an element of the page."""
    height, width = image.shape[1:]
    return Markup('<img role="img" alt="{}" width="{}" height="{}" src="{}">').format(
        label, side, max(1, round(side * height / width)), address(image)
    )


def address(image: Tensor) -> str:
    """An image `(C, H, W)` in [0, 1] as a `data:` address."""
    from PIL import Image

    pixels = image.clamp(0, 1).mul(255).round().byte().cpu()
    rows = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(rows.contiguous().numpy()).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def regions(opened: Opened, split: Split) -> Markup | None:
    """`decisions`, and the samples; None without two features and classes."""
    if not two_features(opened):
        return None
    image, (x0, x1), (y0, y1) = decisions(opened, split)
    label = f"decision regions of {', '.join(opened.names)} over the two features"
    chart = Chart(label, (x0, x1), (y0, y1), ("feature 1", "feature 2"), (480, 380))
    chart.image(address(image))
    for (x, y), label_of in zip(split.x.tolist()[:DOTS], split.y.tolist(), strict=False):
        chart.dot(x, y, 2.2, label_of)
    return chart.svg()


def two_features(opened: Opened) -> bool:
    """Whether a plane shows all that the model is given, and it tells classes apart."""
    return opened.data.shape == (2,) and not opened.test.y.is_floating_point()


@torch.no_grad()
def decisions(opened: Opened, split: Split) -> tuple[Tensor, tuple[float, float], tuple[float, float]]:
    """Which class the model gives to each point of the plane of two features, stronger where it is surer: an image `(3, H, W)`
    in [0, 1] whose first row is the top, and the ranges of both features, those of the samples with some room."""
    low, high = split.x.amin(0), split.x.amax(0)
    room = 0.08 * (high - low).clamp(min=1e-6)
    (x0, y0), (x1, y1) = (low - room).tolist(), (high + room).tolist()
    across, up = torch.linspace(x0, x1, GRID), torch.linspace(y1, y0, GRID)
    plane = torch.stack([across.expand(GRID, GRID), up.unsqueeze(1).expand(GRID, GRID)], 2).view(-1, 2)
    device = device_of(opened.model)
    surest, said = logits(opened.model, plane.to(device)).softmax(1).cpu().max(1)
    palette = torch.tensor([_rgb(COLOURS[i % len(COLOURS)]) for i in range(opened.data.classes)])
    strength = (0.15 + 0.45 * surest).unsqueeze(1)
    return (palette[said] * strength + 1 - strength).T.view(3, GRID, GRID), (x0, x1), (y0, y1)


def samples(split: Split, which: Sequence[int], captions: Sequence[str]) -> list[tuple[str, Markup]]:
    """Some samples of a split as pictures with captions; none if they are no images."""
    if split.x.dim() != 4 or split.x.shape[1] not in (1, 3):
        return []
    return [(text, picture(to_unit(split.x[i]), text)) for i, text in zip(which, captions, strict=True)]


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
