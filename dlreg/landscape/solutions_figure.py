"""The loss around a solution as contours, between two as a curve."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlreg.landscape.solutions import Point
from dlreg.report.figure import STYLE
from dlreg.report.frame import COLOURS


def draw(points: Sequence[Point], title: str, style: str) -> bytes:
    """The picture as the content of a file, png, svg or pdf."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5.4, 4.2), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        (_line if len({p.beta for p in points}) == 1 else _plane)(figure, points)
        figure.suptitle(title.replace("$", r"\$"), fontsize=8)
        buffer = io.BytesIO()
        stamps = {"svg": "Date", "pdf": "CreationDate"}  # left out: the same picture, the same bytes
        figure.savefig(buffer, format=style, metadata={stamps[style]: None} if style in stamps else None)
    return buffer.getvalue()


def _plane(figure: Figure, points: Sequence[Point]) -> None:
    """Contours at equal ratios of the loss; the cross is the solution."""
    axes = figure.subplots()
    side = sorted({p.alpha for p in points})
    loss = np.array([p.loss for p in points]).reshape(len(side), len(side))
    finite = loss[np.isfinite(loss)] if np.isfinite(loss).any() else np.ones(1)
    low = max(float(finite.min()), 1e-6)
    high = max(float(finite.max()), 1.001 * low)
    levels = np.geomspace(low, high, 24)
    drawn = axes.contourf(
        side, side, np.nan_to_num(loss, nan=high).clip(low, high), levels=levels, cmap="viridis", norm="log"
    )
    figure.colorbar(drawn, ax=axes, label="training loss", format="%.3g")
    axes.plot([0], [0], "x", color="white")
    axes.set(xlabel="first direction", ylabel="second direction", aspect="equal")
    axes.grid(visible=False)


def _line(figure: Figure, points: Sequence[Point]) -> None:
    axes = figure.subplots()
    at = [p.alpha for p in points]
    axes.plot(at, [p.loss for p in points], color=COLOURS[0])
    axes.set(xlabel="from the first run (0) to the second (1)", ylim=(0, None))
    axes.set_ylabel("training loss", color=COLOURS[0])
    if wrong := [100 * p.error for p in points if p.error is not None]:
        errors = axes.twinx()
        errors.plot(at, wrong, "--", color=COLOURS[1])
        errors.set_ylabel("training error %", color=COLOURS[1])
        errors.set_ylim(0, None)
        errors.grid(visible=False)
    for end in (0, 1):
        axes.axvline(end, color="#555555", linewidth=0.8)
