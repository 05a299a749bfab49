"""What a schedule looks like before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dlreg.context import Progress

STEPS = 100  # updates per epoch of a preview: data and batch size are not known to it
BLOCKS = " ▁▂▃▄▅▆▇█"


def curve(schedule: Callable[[Progress], float], epochs: int, points: int) -> tuple[list[float], list[float]]:
    """Epochs done and multipliers, at `points` updates from the first to the last; the val loss never improves."""
    total = epochs * STEPS
    steps = sorted({round(i * (total - 1) / (points - 1)) for i in range(points)})
    values = [schedule(Progress(s, STEPS, total, (1.0,) * (s // STEPS))) for s in steps]
    return [s / STEPS for s in steps], values


def bars(values: list[float], height: int) -> list[str]:
    """The values as columns of blocks over 0, tallest at the largest: `height` lines with the scale at their left."""
    top = max(*values, 1e-12)
    eighths = [round(8 * height * value / top) for value in values]
    lines = []
    for row in reversed(range(height)):
        scale = f"{top:.3g}" if row == height - 1 else "0" if not row else ""
        lines.append(f"{scale:>8} " + "".join(BLOCKS[min(8, max(0, n - 8 * row))] for n in eighths).rstrip())
    return lines


def save_png(path: Path | BinaryIO, title: str, epochs: list[float], values: list[float]) -> None:
    """Draw the curve into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="multiplier of the base rate", title=title)
    axes.plot(epochs, values)
    axes.set_ylim(bottom=0)
    figure.savefig(path, format="png", dpi=150)
