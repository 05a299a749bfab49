"""Pictures of a table: learning curves with bands, dots with intervals, sweeps, tuning, fits. PNG, SVG and PDF, for print."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dlreg.errors import UserError
from dlreg.report.budget import budget
from dlreg.report.dots import dots
from dlreg.report.figure import PATTERNS, STYLE, give_title, name_of
from dlreg.report.fit import fit
from dlreg.report.frame import COLOURS
from dlreg.report.html import CURVES
from dlreg.report.label import number
from dlreg.report.metrics import METRICS
from dlreg.report.table import Row, Table, curve

Kind = Literal["curves", "dots", "sweep", "tuning", "fit"]
KINDS: tuple[Kind, ...] = ("curves", "dots", "sweep", "tuning", "fit")
Style = Literal["png", "svg", "pdf"]
MARKERS = "os^Dv<>P"


def draw(table: Table, kind: Kind, style: Style) -> bytes:
    """The picture as the content of a file."""
    return file_of(figure(table, kind), style)


def figure(table: Table, kind: Kind) -> Figure:
    """The picture as a figure of matplotlib's.

    Raises:
        UserError: the table has nothing to show in this way.
    """
    if kind not in KINDS:
        raise UserError(f"kind={kind} must be one of {', '.join(KINDS)}")
    if kind != "tuning" and not any(row.runs for row in table.rows):
        raise UserError("no run is done yet: there is nothing to draw")
    if kind in ("dots", "sweep") and not any(row.metrics[table.metrics[0]] for row in table.rows):
        raise UserError(f"no run has a {METRICS[table.metrics[0]].title}: there is nothing to draw")
    return styled(lambda: {"curves": _curves, "dots": dots, "sweep": _sweep, "tuning": budget, "fit": fit}[kind](table))


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
        for i, row in enumerate(rows):
            points = curve(row.runs, key)
            epochs, means = [e for e, _ in points], [s.mean for _, s in points]
            spread = [s.sd or 0.0 for _, s in points]
            colour, pattern = COLOURS[i % len(COLOURS)], PATTERNS[i // len(COLOURS) % len(PATTERNS)]
            # The first lines are the widest: one that lies on another does not hide it.
            width = 1.2 + 2.4 * (len(rows) - 1 - i) / max(len(rows) - 1, 1)
            axes.plot(epochs, means, pattern, color=colour, linewidth=width, label=name_of(row))
            low = [max(m - s, 0.0) for m, s in zip(means, spread, strict=True)]
            high = [m + s for m, s in zip(means, spread, strict=True)]
            axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set(xlabel="epoch", ylabel=CURVES[key])
        _log_if_wide(axes, [s.mean for row in rows for _, s in curve(row.runs, key)])
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(rows)))
    give_title(figure, table, "mean over seeds; band: ± one standard deviation")
    return figure


def _sweep(table: Table) -> Figure:
    """The first metric, and that of training beside it, against the parameter that varies; one line for each choice."""
    parameter = _parameter(table)
    name = table.metrics[0]
    beside = _of_training(name)
    lines: dict[str, list[tuple[float, Row]]] = {}
    for row in table.rows:
        value = row.label.get(parameter, "")
        if row.runs and number(value) is not None:
            rest = ", ".join(v for k, v in row.label.items() if k != parameter and v) or name
            lines.setdefault(rest, []).append((float(value), row))
    figure = Figure(figsize=(4.6, 3.2), dpi=200)
    axes = figure.subplots()
    for i, (label, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        prefix = f"{label}: " if len(lines) > 1 else ""
        stats = [(value, stat) for value, row in points if (stat := row.metrics[name])]
        ends = [(s.low if s.low is not None else s.mean, s.high if s.high is not None else s.mean) for _, s in stats]
        axes.errorbar(
            [v for v, _ in stats], [s.mean for _, s in stats], fmt=f"{marker}-", color=colour, capsize=2.5,
            yerr=[[s.mean - low for (_, s), (low, _) in zip(stats, ends, strict=True)],
                  [high - s.mean for (_, s), (_, high) in zip(stats, ends, strict=True)]],
            label=prefix + METRICS[name].title,
        )  # fmt: skip
        if name != beside:
            train = [(v, METRICS[beside].stat(row.runs, table.select)) for v, row in points]
            if known := [(v, s.mean) for v, s in train if s]:
                label = prefix + METRICS[beside].title
                axes.plot(*zip(*known, strict=True), f"{marker}:", color=colour, mfc="white", label=label)
    for row in table.rows:
        if (flat := row.metrics[name]) and number(row.label.get(parameter, "")) is None:
            axes.axhline(flat.mean, color="#555555", linestyle="--", linewidth=1, label=name_of(row))
    values = sorted({v for points in lines.values() for v, _ in points})
    axes.set(xlabel=parameter, ylabel="%" if METRICS[name].title.endswith("%") else METRICS[name].title)
    if geometric(values):
        axes.set_xscale("symlog" if values[0] == 0 else "log", **({"linthresh": values[1]} if values[0] == 0 else {}))
    axes.set_xticks(values, [f"{v:g}" for v in values], rotation=45 if len(values) > 6 else 0)
    axes.xaxis.set_minor_locator(NullLocator())
    (low, high), (least, most) = axes.get_ylim(), METRICS[name].limits
    axes.set_ylim(max(low, least), min(high, most))
    figure.legend(loc="outside lower center", ncols=2)
    give_title(figure, table, "bars: 95 % interval of the mean")
    return figure


def _of_training(name: str) -> str:
    """The metric of the training set that belongs to one of another set."""
    own = f"train_{name.removeprefix('test_').removeprefix('val_')}"
    return own if own in METRICS else "train_accuracy" if METRICS[name].better == "higher" else "train_error"


def geometric(values: Sequence[float]) -> bool:
    """Whether values are better spaced on a logarithmic axis: ratios between neighbours vary less than steps do."""
    positive = [v for v in values if v > 0]
    if len(positive) < 3 or min(values) < 0:
        return False
    steps = [b - a for a, b in zip(positive, positive[1:], strict=False)]
    ratios = [math.log(b / a) for a, b in zip(positive, positive[1:], strict=False)]
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def _parameter(table: Table) -> str:
    numeric = [
        key for key in table.columns
        if len({v for row in table.rows if number(v := row.label.get(key, "")) is not None}) > 1
    ]  # fmt: skip
    if not numeric:
        raise UserError("--kind sweep needs rows that differ in a number, such as reg.dropout.p or data.train_size")
    return max(numeric, key=lambda key: len({row.label.get(key) for row in table.rows}))


def _log_if_wide(axes: Axes, values: Sequence[float]) -> None:
    """Two orders of magnitude and more are read on a logarithmic axis."""
    positive = [v for v in values if v > 0]
    if len(positive) == len(values) and positive and max(positive) > 100 * min(positive):
        axes.set_yscale("log")
