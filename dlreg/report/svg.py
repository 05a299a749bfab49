"""Pictures as inline SVG: axes with ticks, lines, bars and dots that follow the page's colours, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from dlreg.report.frame import COLOURS

DASHES = ("", "6 3", "2 2", "8 3 2 3")
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 8, 34  # margins in user units
Point = tuple[float, float]


class Chart:
    """One picture. `label` is what it says to who cannot see it; `x`, `y` the ends of the axes, and `names` theirs."""

    def __init__(
        self, label: str, x: Point, y: Point, names: tuple[str, str] = ("", ""), size: tuple[int, int] = (360, 220)
    ) -> None:
        self.label, self.x, self.y, self.names, self.size = label, _wide(x), _wide(y), names, size
        self.left: float = LEFT
        self.marks: list[str] = []

    def at(self, x: float, y: float) -> Point:
        """Where the data's (x, y) is in the picture."""
        width, height = self.size
        (x0, x1), (y0, y1) = self.x, self.y
        across = self.left + (width - self.left - RIGHT) * (x - x0) / (x1 - x0)
        return across, TOP + (height - BOTTOM - TOP) * (y1 - y) / (y1 - y0)

    def line(self, points: Iterable[Point], pen: int = 0, width: float = 1.6) -> None:
        """Straight from point to point, in the colour and the pattern of a pen; a lone point is a dot."""
        points = list(points)
        if len(points) == 1:
            self.dot(*points[0], pen=pen)
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        dashed = f' stroke-dasharray="{pattern}"' if (pattern := dash(pen)) else ""
        self.marks.append(
            f'<polyline class="line {pen_class(pen)}" points="{places}" stroke-width="{width:.1f}"{dashed}/>'
        )

    def bars(self, edges: Sequence[float], heights: Sequence[float], pen: int = 0) -> None:
        """A bar between each two edges, from zero."""
        for low, high, value in zip(edges[:-1], edges[1:], heights, strict=True):
            (x0, y0), (x1, y1) = self.at(low, max(self.y[0], 0.0)), self.at(high, value)
            self.marks.append(
                f'<rect class="mark edge {pen_class(pen)}" x="{x0:.1f}" y="{min(y0, y1):.1f}" width="{x1 - x0:.1f}" '
                f'height="{abs(y0 - y1):.1f}"/>'
            )

    def dot(self, x: float, y: float, radius: float = 3, pen: int = 0) -> None:
        """A filled circle."""
        cx, cy = self.at(x, y)
        self.marks.append(f'<circle class="mark {pen_class(pen)}" cx="{cx:.1f}" cy="{cy:.1f}" r="{radius}"/>')

    def image(self, address: str) -> None:
        """A picture that fills the axes."""
        (x0, y0), (x1, y1) = self.at(self.x[0], self.y[1]), self.at(self.x[1], self.y[0])
        self.marks.append(
            f'<image href="{address}" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" '
            'preserveAspectRatio="none"/>'
        )

    def svg(self, rows: Sequence[str] | None = None) -> Markup:
        """The element. `rows` are words in place of the ticks of y, at 0, 1, 2 ..."""
        width, height = self.size
        parts = [*self._ticks(rows), *self.marks]
        (x0, y0), (x1, y1) = self.at(self.x[0], self.y[1]), self.at(self.x[1], self.y[0])
        parts.append(f'<path class="axis" d="M{x0:.1f} {y0:.1f}V{y1:.1f}H{x1:.1f}"/>')
        parts.append(_text((x0 + x1) / 2, height - 3, self.names[0]))
        if self.names[1]:
            parts.append(_text(x0 + 4, y0 + 6, self.names[1], "start"))
        return Markup(
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{escape(self.label)}">{"".join(parts)}</svg>'
        )

    def _ticks(self, rows: Sequence[str] | None) -> Iterable[str]:
        bottom = self.at(self.x[0], self.y[0])[1]
        for value in ticks(self.x):
            yield _text(self.at(value, self.y[0])[0], bottom + 14, f"{value:g}")
        for i, word in enumerate(rows or ()):
            yield _text(self.left - 5, self.at(self.x[0], i)[1] + 4, word, "end")
        for value in () if rows is not None else ticks(self.y):
            (x0, y), x1 = self.at(self.x[0], value), self.at(self.x[1], value)[0]
            yield f'<path class="grid" d="M{x0:.1f} {y:.1f}H{x1:.1f}"/>'
            yield _text(self.left - 5, y + 4, f"{value:g}", "end")


def ticks(ends: Point, most: int = 5) -> list[float]:
    """Round numbers between the ends of an axis."""
    from matplotlib.ticker import MaxNLocator

    low, high = ends
    found = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    room = 1e-9 * (high - low)
    return [float(f"{value:.6g}") for value in found if low - room <= value <= high + room]


def pen_class(pen: int) -> str:
    """The class whose colour a pen has."""
    return f"c{pen % len(COLOURS)}"


def dash(pen: int) -> str:
    """The pattern of a pen: where the colours run out, they begin anew with the next one."""
    return DASHES[pen // len(COLOURS) % len(DASHES)]


def _wide(ends: Point) -> Point:
    low, high = ends
    return (low - 0.5, high + 0.5) if low == high else ends


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>' if text else ""
