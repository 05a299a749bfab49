"""Pictures of `dlreg.landscape.surfaces`: contours with paths, and the loss against the step."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dlreg.landscape.surfaces import SURFACES, Path, Surface

# Okabe and Ito's colours are told apart by colour-blind readers; line styles and markers by a grey printer.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FLOOR = 1e-12  # the least loss drawn
FRAMES = 40
EACH = 125  # milliseconds of a frame


def picture(paths: dict[str, list[Path]], tolerance: float) -> Figure:
    """One row per surface."""
    figure = Figure(figsize=(11, 3.9 * len(paths)), layout="constrained")
    axes = figure.subplots(len(paths), 2, squeeze=False)
    for (left, right), (name, walked) in zip(axes, paths.items(), strict=True):
        surface = SURFACES[name]
        _contours(left, name, surface)
        _curves(right, surface, walked, tolerance)
        for i, path in enumerate(walked):
            x, y = zip(*path.points, strict=True)
            left.plot(x, y, **_look(i, path))
        right.legend(fontsize=8, loc="lower left")
    return figure


def still(figure: Figure, style: str) -> bytes:
    """The picture as the content of a file, png, pdf or svg."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=style, dpi=150)
    return buffer.getvalue()


def animation(figure: Figure, advance: Callable[[], None]) -> bytes:
    """A picture that was drawn, as it comes about, a GIF; frames lie at steps that grow geometrically: most happens early.

    All that does not move is drawn once; a frame is that, the paths so far, and the legends over them.
    """
    figure.set_layout_engine("none")  # the places are those of the picture
    figure.set_dpi(60)
    canvas = FigureCanvasAgg(figure)
    legends = _legends(figure, canvas)
    lines = [line for axis in figure.axes for line in axis.lines if line.get_gid() == "path"]
    drawn = [(line, np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in lines]
    for line in lines:
        line.set_animated(True)
    canvas.draw()
    ground = canvas.copy_from_bbox(figure.bbox)
    frames = []
    for stop in np.geomspace(1, max(len(x) for _, x, _ in drawn), FRAMES).astype(int):
        canvas.restore_region(ground)
        for line, x, y in drawn:
            line.set_data(x[:stop], y[:stop])
            figure.draw_artist(line)
        frame = Image.fromarray(np.asarray(canvas.buffer_rgba()))
        frames.append(Image.alpha_composite(frame, legends).convert("RGB"))
        advance()
    palette = frames[-1].quantize(256)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    buffer, pause = io.BytesIO(), [EACH] * len(others) + [8 * EACH]
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=pause, loop=0)
    return buffer.getvalue()


def _legends(figure: Figure, canvas: FigureCanvasAgg) -> Image.Image:
    """The legends alone, on nothing; they are taken out of the figure."""
    for legend in filter(None, [axis.get_legend() for axis in figure.axes]):
        legend.draw(canvas.get_renderer())
        legend.remove()
    return Image.fromarray(np.asarray(canvas.buffer_rgba()).copy())


def _contours(axis: Axes, name: str, surface: Surface) -> None:
    (left, right), (bottom, top) = surface.window
    x, y = torch.meshgrid(torch.linspace(left, right, 200), torch.linspace(bottom, top, 200), indexing="xy")
    height = surface.value(x.double(), y.double()) - surface.least
    levels = np.geomspace(1e-3, float(height.max()), 22)
    axis.contour(x, y, height, levels=levels, colors="0.75", linewidths=0.7)
    axis.plot(*zip(*surface.minima, strict=True), "*", color="0.3", markersize=12, linestyle="none")
    axis.set(xlim=surface.window[0], ylim=surface.window[1], xlabel="x", ylabel="y")
    axis.set_title(f"{name}: {surface.formula}", fontsize=10)


def _curves(axis: Axes, surface: Surface, walked: list[Path], tolerance: float) -> None:
    for i, path in enumerate(walked):
        axis.plot(range(1, len(path.losses) + 1), np.maximum(path.losses, FLOOR), **_look(i, path, every=0.1))
    axis.axhline(tolerance, color="0.6", linewidth=0.7)
    axis.set(xscale="log", yscale="log", xlabel="step + 1", ylabel="f − f*")
    top = max(max(path.losses[0] for path in walked) * 100, tolerance * 10)
    axis.set_ylim(max(FLOOR, min(tolerance / 100, 1e-6)), top)
    axis.set_title("loss", fontsize=10)
    if surface.smoothness:
        steps = np.arange(1, max(len(path.losses) for path in walked) + 1)
        distance = sum((a - b) ** 2 for a, b in zip(surface.start, surface.minima[0], strict=True))
        bound = surface.smoothness * distance / (2 * steps)
        axis.plot(steps + 1, bound, color="0.5", linewidth=1, dashes=(1, 1), label="O(1/T) bound of descent, lr = 1/L")
        limit = 2 / surface.smoothness
        axis.set_title(
            f"loss; L = {surface.smoothness:g}, so plain descent diverges from lr = 2/L = {limit:g}", fontsize=10
        )


def _look(i: int, path: Path, every: float | None = None) -> dict[str, Any]:
    steps = len(path.points)
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[i % len(STYLES)],
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 4,
        "markevery": every or max(1, steps // 12),
        "linewidth": 1.4,
        "label": f"{path.label}{' (diverged)' if path.diverged else ''}",
        "gid": "path",
    }
