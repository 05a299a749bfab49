"""An ablation in sentences, for a reader who knows no statistics."""

from __future__ import annotations

from collections.abc import Mapping

from dlreg.report.cells import interval
from dlreg.report.effects import Effects, Gain
from dlreg.report.metrics import METRICS
from dlreg.report.stats import Stat

MEANING = (
    "a gain is what the words do for the number, positive where it gets better. Beside the others: all against all but "
    "that word. Alone: that word against none. A word that gains alone and nothing beside the others does what others do "
    "as well; one that gains only beside the others needs them"
)
FACTORIAL = (
    "An effect is the mean gain with the word less that without it, over all combinations of the others; an interaction "
    "is half of what that effect changes by when the other word is there: negative where two words do the same work (Box, "
    "Hunter & Hunter 2005, chapter 5). A share is the mean, over all orders of adding the words, of what the word adds "
    "(Shapley 1953); shares sum to what all gain"
)


def words(found: Effects, listed: bool = True) -> dict[str, str]:
    """The lines of the footer; effects and interactions only where they are to be `listed`, and not drawn."""
    sentences = [_together(found), *(_of_word(found, name) for name in found.names), _shares(found)]
    lines = {"In words": " ".join(filter(None, sentences)), "Ablation": MEANING}
    if found.why_not:
        lines["Factorial"] = f"no effects, interactions or shares, into which every run goes: {found.why_not}"
    if whole := found.factorial:
        lines["Factorial"] = f"over {whole.total.n} seeds, each interval by itself (Student's t). {FACTORIAL}"
        if listed:
            pairs = {" x ".join(pair): stat for pair, stat in whole.interactions.items()}
            lines["Effects"], lines["Interactions"] = _list(found, whole.main), _list(found, pairs)
    return lines


def _together(found: Effects) -> str:
    n, total = len(found.names), found.total
    whole = f"All {n} together" if n > 1 else found.names[0]
    if told := _change(found, total, many=n > 1):
        return f"{whole} {told}, against none of them." if n > 1 else f"{whole} {told}."
    return f"{whole}: {_silent(found, total)}."


def _of_word(found: Effects, name: str) -> str:
    if len(found.names) == 1:
        return ""
    alone, beside = found.alone[name], found.beside[name]
    first = f"alone it {told}" if (told := _change(found, alone)) else f"alone: {_silent(found, alone)}"
    if beside.verdict.startswith(("helps", "hurts")):
        verb = "costs" if beside.verdict.startswith("helps") else "gains"
        second = f"leaving it out of everything {verb} {_size(found, beside.stat)}"
    elif beside.verdict == "identical":
        second = "leaving it out of everything changes nothing, to the last bit"
    else:
        second = f"left out of everything: {_silent(found, beside)}"
    return f"{name}: {first}; {second}."


def _change(found: Effects, gain: Gain, many: bool = False) -> str:
    """`lowers the test error by 1.20 points (95 % 0.90 to 1.50)`, or nothing where nothing was shown."""
    if not gain.verdict.startswith(("helps", "hurts")):
        return ""
    metric = METRICS[found.metric]
    down = gain.verdict.startswith("helps") == (metric.better == "lower")
    verb = ("lower" if down else "raise") + "s" * (not many)
    return f"{verb} the {metric.title.removesuffix(' %')} by {_size(found, gain.stat)}"


def _silent(found: Effects, gain: Gain) -> str:
    """Why there is no such sentence."""
    if gain.verdict == "identical":
        return "nothing happened, to the last bit"
    if gain.verdict != "not decided":
        return gain.verdict
    seeds = f"; about {gain.seeds_needed} seeds would decide" if gain.seeds_needed else ""
    return f"not decided ({_between(found, gain.stat)}{seeds})"


def _size(found: Effects, stat: Stat | None) -> str:
    """`1.20 points (95 % 0.90 to 1.50)`."""
    assert stat and stat.low is not None and stat.high is not None
    digits = METRICS[found.metric].digits
    low, high = sorted((abs(stat.low), abs(stat.high)))
    return f"{abs(stat.mean):.{digits}f}{_unit(found)} (95 % {low:.{digits}f} to {high:.{digits}f})"


def _between(found: Effects, stat: Stat | None) -> str:
    """`a gain of +0.20 here, and anything from -0.10 to +0.50 points is possible`."""
    assert stat and stat.low is not None and stat.high is not None
    digits = METRICS[found.metric].digits
    low, high = f"{stat.low:+.{digits}f}", f"{stat.high:+.{digits}f}"
    return f"a gain of {stat.mean:+.{digits}f} here, and anything from {low} to {high}{_unit(found)} is possible"


def _shares(found: Effects) -> str:
    """What every word accounts for of what all gain; as a percentage only of a gain that is one."""
    if not (whole := found.factorial):
        return ""
    total = whole.total
    certain = total.low is not None and total.low > 0
    percent = {
        name: f", {100 * stat.mean / total.mean:.0f} %" if certain else "" for name, stat in whole.shares.items()
    }
    gain = f"{total.mean:+.{METRICS[found.metric].digits}f}{_unit(found)}"
    parts = [f"{_list(found, {name: stat})}{percent[name]}" for name, stat in whole.shares.items()]
    return f"Of the {gain} that all gain together, the words account for these shares: {'; '.join(parts)}."


def _list(found: Effects, stats: Mapping[str, Stat]) -> str:
    """`dropout +1.20 [+0.90, +1.50]; l2 ...`."""
    digits = METRICS[found.metric].digits
    parts = [
        (name, stat, f" {interval(stat, digits, sign=True)}" * (stat.low is not None)) for name, stat in stats.items()
    ]
    return "; ".join(f"{name} {stat.mean:+.{digits}f}{range_}" for name, stat, range_ in parts)


def _unit(found: Effects) -> str:
    return " points" if METRICS[found.metric].title.endswith("%") else ""
