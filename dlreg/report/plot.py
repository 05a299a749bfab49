"""Pictures of a table, for print: the kinds of them, and each as a figure or as the content of a PNG, SVG or PDF."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from dlreg.errors import UserError
from dlreg.report.beside import beside
from dlreg.report.budget import budget
from dlreg.report.dots import dots
from dlreg.report.figure import PATTERNS, STYLE, give_title, name_of
from dlreg.report.fit import fit
from dlreg.report.frame import COLOURS
from dlreg.report.html import CURVES
from dlreg.report.metrics import METRICS
from dlreg.report.path import path
from dlreg.report.regions import regions
from dlreg.report.sweep import sweep
from dlreg.report.table import Kind, Table, curve
from dlreg.report.terms import terms

Style = Literal["png", "svg", "pdf"]


def draw(table: Table, kind: Kind | None, style: Style) -> bytes:
    """The picture as the content of a file."""
    return file_of(figure(table, kind), style)


def figure(table: Table, kind: Kind | None) -> Figure:
    """The picture as a figure of matplotlib's; None: the one that suits the table.

    Raises:
        UserError: the table has nothing to show in this way.
    """
    kind = kind or table.picture
    if kind not in KINDS:
        raise UserError(f"kind={kind} must be one of {', '.join(KINDS)}")
    if kind != "tuning" and not any(row.runs for row in table.rows):
        raise UserError("no run is done yet: there is nothing to draw")
    if kind in ("dots", "sweep") and not any(row.metrics[table.metrics[0]] for row in table.rows):
        raise UserError(f"no run has a {METRICS[table.metrics[0]].title}: there is nothing to draw")
    return styled(lambda: KINDS[kind](table))


def styled(drawn: Callable[[], Figure]) -> Figure:
    """A figure, drawn in dlreg's style."""
    with rc_context(STYLE):
        found = drawn()
        found.set_layout_engine("constrained")
    return found


def file_of(drawn: Figure, style: Style) -> bytes:
    """A figure as the content of a file."""
    buffer = io.BytesIO()
    with rc_context(STYLE):
        if style == "png":
            FigureCanvasAgg(drawn).print_png(buffer)
        elif style == "svg":
            FigureCanvasSVG(drawn).print_svg(buffer, metadata={"Date": None})
        else:
            FigureCanvasPdf(drawn).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()


def _curves(table: Table) -> Figure:
    """One panel for each quantity of the history; the mean over seeds, and the range of one standard deviation."""
    rows = [row for row in table.rows if row.runs]
    panels = [key for key in CURVES if any(curve(row.runs, key) for row in rows)]
    figure = Figure(figsize=(3.3 * len(panels), 2.9 + 0.16 * len(rows)), dpi=200)
    for axes, key in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        logarithmic = _wide([s.mean for row in rows for _, s in curve(row.runs, key)])
        for i, row in enumerate(rows):
            points = curve(row.runs, key)
            epochs, means = [e for e, _ in points], [s.mean for _, s in points]
            spread = [s.sd or 0.0 for _, s in points]
            colour, pattern = COLOURS[i % len(COLOURS)], PATTERNS[i // len(COLOURS) % len(PATTERNS)]
            # The first lines are the widest: one that lies on another does not hide it.
            width = 1.2 + 2.4 * (len(rows) - 1 - i) / max(len(rows) - 1, 1)
            axes.plot(epochs, means, pattern, color=colour, linewidth=width, label=name_of(row))
            high = [m + s for m, s in zip(means, spread, strict=True)]
            # On a logarithmic axis down by the factor by which it goes up: m - s can be nothing, and the band fall off a cliff.
            low = [m * m / h if logarithmic else max(m - s, 0.0) for m, s, h in zip(means, spread, high, strict=True)]
            axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set(xlabel="epoch", ylabel=CURVES[key], yscale="log" if logarithmic else "linear")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(rows)))
    give_title(figure, table, "mean over seeds; band: one standard deviation up, and as far down on the axis")
    return figure


def _wide(values: Sequence[float]) -> bool:
    """Whether they span two orders of magnitude and more, which are read on a logarithmic axis."""
    return min(values, default=0.0) > 0 and max(values) > 100 * min(values)


KINDS: dict[Kind, Callable[[Table], Figure]] = {
    "curves": _curves, "dots": dots, "sweep": sweep, "path": path, "terms": terms, "beside": beside,
    "tuning": budget, "fit": fit, "regions": regions,
}  # fmt: skip
