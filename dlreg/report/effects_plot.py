"""An ablation as a picture: what each word gains, as bars on one scale; effects and interactions beside them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlreg.report.bars import reach
from dlreg.report.effects import Effects
from dlreg.report.figure import give_title
from dlreg.report.frame import COLOURS
from dlreg.report.stats import Stat
from dlreg.report.table import Table

Bar = tuple[float, Stat | None, str]  # where, how long, and what is said in its place


def effects_figure(found: Effects, table: Table) -> Figure:
    """One panel of gains; where every combination was run a second one, of effects and interactions."""
    names, whole = found.names, found.factorial
    kinds: dict[str, list[tuple[Stat | None, str]]] = {
        "beside the others": [(found.beside[n].stat, found.beside[n].verdict) for n in names],
        "alone": [(found.alone[n].stat, found.alone[n].verdict) for n in names],
    }
    others: dict[str, Stat] = {}
    if whole:
        kinds["share (Shapley)"] = [(whole.shares[n], "") for n in names]
        others = whole.main | {" × ".join(pair): stat for pair, stat in whole.interactions.items()}
    rows = max(len(names) * len(kinds), len(others))
    figure = Figure(figsize=(9.6 if others else 6.4, 1.7 + 0.24 * rows), dpi=200)
    panels = figure.subplots(1, 2 if others else 1, squeeze=False)[0]
    _frame(panels[0], names, list(found.gains()), found.title)
    height = 0.8 / len(kinds)
    for k, (kind, gains) in enumerate(kinds.items()):
        offset = (k - (len(kinds) - 1) / 2) * height
        _bars(panels[0], [(i + offset, s, why) for i, (s, why) in enumerate(gains)], height, COLOURS[k])
        panels[0].barh([0], [0], color=COLOURS[k], label=kind)
    if others:
        _frame(panels[1], list(others), list(others.values()), "effect and interaction, likewise")
        pairs = [(float(i), stat, "") for i, stat in enumerate(others.values())]
        _bars(panels[1], pairs[: len(names)], 0.6, COLOURS[3])
        _bars(panels[1], pairs[len(names) :], 0.6, COLOURS[5])
    figure.legend(loc="outside lower center", ncols=3)
    give_title(figure, table, "positive is better; lines: 95 % intervals")
    return figure


def _frame(axes: Axes, names: Sequence[str], stats: Sequence[Stat], title: str) -> None:
    low, high = reach(stats)
    margin = 0.03 * (high - low)
    axes.set(xlabel=title, xlim=(low - margin, high + margin))
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color="#555555", linewidth=1)


def _bars(axes: Axes, bars: Sequence[Bar], height: float, colour: str) -> None:
    """Bars with their intervals; what lies beyond the axis ends in an arrow head there."""
    left, right = axes.get_xlim()
    for at, stat, why in bars:
        if stat is None or stat.low is None or stat.high is None:
            axes.text(0, at, f" {why}", va="center", fontsize=7, color="#555555")
        if stat is None:
            continue
        axes.barh([at], [stat.mean], height=0.85 * height, color=colour, alpha=0.75, zorder=2)
        if stat.low is None or stat.high is None:
            continue
        axes.plot([max(stat.low, left), min(stat.high, right)], [at, at], "-", color="#222222", linewidth=1, zorder=3)
        for end, edge, head in ((stat.low, left, "<"), (stat.high, right, ">")):
            cut = end < left or end > right
            axes.plot(
                [edge if cut else end],
                [at],
                head if cut else "|",
                color="#222222",
                markersize=4,
                zorder=4,
                clip_on=False,
            )
