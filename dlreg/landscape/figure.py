"""Pictures of `dlreg.landscape.surfaces`: contours with paths, and the loss against the step."""

from __future__ import annotations

from pathlib import Path as File
from typing import Any

import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dlreg.landscape.surfaces import SURFACES, Path, Surface

# Okabe and Ito's colours are told apart by colour-blind readers; line styles and markers by a grey printer.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FLOOR = 1e-12  # the least loss drawn
FRAMES = 40


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


def animate(paths: dict[str, list[Path]], tolerance: float, file: File) -> None:
    """The same picture as it comes about; frames lie at steps that grow geometrically, since most happens early."""
    figure = picture(paths, tolerance)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not for every frame
    lines = [[line for line in axis.lines if line.get_gid() == "path"] for axis in figure.axes]
    drawn = [(line, np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for group in lines for line in group]
    longest = max(len(x) for _, x, _ in drawn)
    stops = np.unique(np.geomspace(1, longest, FRAMES).astype(int))

    def frame(stop: int) -> list[Line2D]:
        for line, x, y in drawn:
            line.set_data(x[:stop], y[:stop])
        return [line for line, _, _ in drawn]

    FuncAnimation(figure, frame, frames=[*stops, *[longest] * 8], blit=False).save(file, PillowWriter(fps=8), dpi=60)


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
