"""What words gain, as bars on one scale in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from dlreg.errors import printable
from dlreg.report.cells import interval, short
from dlreg.report.effects import Effects, Gain
from dlreg.report.metrics import METRICS
from dlreg.report.stats import Stat

WIDTH = 41  # characters of a bar's scale
_BAR, _BOTH, _INTERVAL, _ZERO = "█", "▓", "─", "│"


def bars(found: Effects) -> Any:
    """One block of bars for the words, and one for effects and interactions where every combination was run."""
    metric = METRICS[found.metric]
    scale = reach(list(found.gains()))
    drawn = _block(found.title, ("word", "", "95 % interval", "verdict"))
    for name in found.names:
        for i, (how, gain) in enumerate([("beside the others", found.beside[name]), ("alone", found.alone[name])]):
            drawn.add_row(*_row(name * (i == 0), how, gain, scale, metric.digits))
        if found.factorial:
            drawn.add_row(*_row("", "share", Gain(found.factorial.shares[name], ""), scale, metric.digits))
    blocks = [drawn]
    if found.factorial:
        effects = {**found.factorial.main, **{" x ".join(pair): s for pair, s in found.factorial.interactions.items()}}
        scale = reach(list(effects.values()))
        drawn = _block("effect", ("mean over everything else", "", "95 % interval", ""))
        for name, stat in effects.items():
            drawn.add_row(
                *_row(name, "interaction" if " x " in name else "effect", Gain(stat, ""), scale, metric.digits)
            )
        blocks.append(drawn)
    return Group(*blocks)


def reach(stats: Sequence[Stat]) -> tuple[float, float]:
    """The ends of a scale that holds zero and every mean; intervals reach as far again at most, and are then cut."""
    means = [0.0, *(s.mean for s in stats)]
    room = max(means) - min(means) or 1.0
    lows = [s.low for s in stats if s.low is not None]
    highs = [s.high for s in stats if s.high is not None]
    low = max(min([*means, *lows]), min(means) - room)
    high = min(max([*means, *highs]), max(means) + room)
    return low, high


def _block(title: str, heads: tuple[str, str, str, str]) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD)
    for head in (heads[0], heads[1]):
        drawn.add_column(head, no_wrap=True)
    drawn.add_column(title, no_wrap=True, min_width=WIDTH)
    drawn.add_column("", justify="right", no_wrap=True)
    for head in heads[2:]:
        drawn.add_column(head, no_wrap=head != "verdict")
    return drawn


def _row(name: str, how: str, gain: Gain, scale: tuple[float, float], digits: int) -> list[Text]:
    stat = gain.stat
    texts = [printable(name), how, bar(stat, scale) if stat else "", short(stat, digits, sign=True, spread=False)]
    return [Text(text) for text in (*texts, interval(stat, digits, sign=True), printable(gain.verdict))]


def bar(stat: Stat, scale: tuple[float, float], width: int = WIDTH) -> str:
    """From zero to the mean; the interval as a line with ends, or heads where it goes on beyond the scale."""
    low, high = scale
    step = (high - low) / (width - 1) or 1.0

    def at(value: float) -> int:
        return round((min(max(value, low), high) - low) / step)

    cells = [" "] * width
    zero, mean = at(0.0), at(stat.mean)
    filled = range(min(zero, mean), max(zero, mean) + 1) if mean != zero else range(0)
    for i in filled:
        cells[i] = _BAR
    if stat.low is not None and stat.high is not None:
        first, last = at(stat.low), at(stat.high)
        for i in range(first, last + 1):
            cells[i] = _BOTH if i in filled else _INTERVAL
        cells[first], cells[last] = "◂" if stat.low < low else "├", "▸" if stat.high > high else "┤"
    cells[zero] = _ZERO
    return "".join(cells)
