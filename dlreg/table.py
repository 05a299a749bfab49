"""list[Result] -> rows -> text. Pure: nothing here runs or reads anything."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dlreg.config import GROUPS, walk
from dlreg.result import NOT_IDENTITY, NOT_IDENTITY_DATA, Result

Format = Literal["rich", "md", "latex", "csv", "json"]
PLAIN = ("none", "default", "constant", "sgd", "")  # what a baseline is made of
FORMATS: tuple[Format, ...] = ("rich", "md", "latex", "csv", "json")


@dataclass(frozen=True)
class Stat:
    """Mean and sample standard deviation (ddof=1; None for one value) of n values."""

    n: int
    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Stat | None:
        """Of the values that are there; None if none is."""
        found = [v for v in values if v is not None]
        if not found:
            return None
        return cls(len(found), statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None)


@dataclass(frozen=True)
class Row:
    """One combination of techniques; errors in percent, times in seconds. Only runs that are done have numbers."""

    label: dict[str, str]  # what differs -> this row's value
    seeds: list[int]
    status: dict[str, int]  # how many runs ended how
    test_error: Stat | None
    delta: Stat | None  # difference to the baseline, over the seeds both have
    val_error: Stat | None
    train_error: Stat | None
    gap: Stat | None  # test minus training error
    seconds: Stat | None


@dataclass(frozen=True)
class Table:
    """Rows, the baseline first as found, and what all runs share."""

    columns: list[str]
    rows: list[Row]
    common: dict[str, str]


def compare(results: Sequence[Result], baseline: str | None = None) -> Table:
    """Group runs that differ in the seed alone; label each group by what differs between groups.

    The baseline is the row whose label contains `baseline`, or else the one with the fewest techniques.
    """
    described = [describe(r.config) for r in results]
    varying = _varying(described)
    groups: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for result, words in zip(results, described, strict=True):
        groups.setdefault(tuple((key, words.get(key, "")) for key in varying), []).append(result)
    labels = list(groups)
    base = _baseline(labels, groups, baseline)
    rows = [_row(dict(label), groups[label], groups.get(base) if label != base else None) for label in labels]
    return Table(varying, rows, _common(described, varying, results))


def arranged(table: Table) -> Table:
    """The same table with the baseline on top and the rest in the order of their labels, plain options first."""

    def place(row: Row) -> tuple[Any, ...]:
        return (row.delta is not None or row.test_error is None, [(v not in PLAIN, v) for v in row.label.values()])

    return replace(table, rows=sorted(table.rows, key=place))


def describe(config: Mapping[str, Any]) -> dict[str, str]:
    """A run in words: `optimizer -> adam`, `reg -> dropout+maxnorm`, `reg.dropout.p -> 0.3`, `epochs -> 20` ..."""
    words: dict[str, str] = {}
    for key, value in config.items():
        if key in NOT_IDENTITY or key == "seed":
            continue
        if key not in GROUPS:
            words[key] = str(value)
            continue
        stack = GROUPS[key].stack
        words[key] = ("+".join(value) or "none") if stack else str(value.get("name"))
        for leaf, content in walk(value):
            last = leaf.rsplit(".", 1)[-1]
            if last in ("_target_", "name") or (key == "data" and leaf in NOT_IDENTITY_DATA) or content == {}:
                continue
            words[f"{key}.{leaf}"] = "x".join(map(str, content)) if isinstance(content, list) else str(content)
    return words


def _varying(described: Sequence[dict[str, str]]) -> list[str]:
    """The keys that tell rows apart: options that differ, and parameters that differ under the same option."""
    keys = list(dict.fromkeys(key for words in described for key in words))
    found = []
    for key in keys:
        group = key.split(".")[0]
        if "." not in key:
            differs = len({words.get(key) for words in described}) > 1
        else:
            # A parameter comes and goes with its option: only a difference within one choice of it says anything.
            by_choice: dict[str, set[str]] = {}
            for words in described:
                if key in words:
                    choice = "" if GROUPS[group].stack else words[group]
                    by_choice.setdefault(choice, set()).add(words[key])
            differs = any(len(values) > 1 for values in by_choice.values())
        if differs:
            found.append(key)
    return sorted(found, key=lambda k: (list(GROUPS).index(k.split(".")[0]) if k.split(".")[0] in GROUPS else 99, k))


def _baseline(labels: list[Any], groups: Mapping[Any, list[Result]], wanted: str | None) -> Any:
    if wanted is not None:
        return next((label for label in labels if wanted in " ".join(f"{k}={v}" for k, v in label)), None)
    return min(labels, key=lambda label: sum(value not in PLAIN for _, value in label), default=None)


def _row(label: dict[str, str], results: Sequence[Result], baseline: Sequence[Result] | None) -> Row:
    done = [r for r in results if r.status == "done"]
    status: dict[str, int] = {}
    for r in results:
        status[r.status] = status.get(r.status, 0) + 1
    return Row(
        label=label,
        seeds=sorted(r.config["seed"] for r in done),
        status=status,
        test_error=Stat.of(_percent(r.test, "last") for r in done),
        delta=_delta(done, baseline),
        val_error=Stat.of(_percent(r.val, "last") for r in done),
        train_error=Stat.of(_percent(r.train) for r in done),
        gap=Stat.of(_gap(r) for r in done),
        seconds=Stat.of(r.seconds for r in done),
    )


def _percent(metrics: Mapping[str, Any] | None, which: str | None = None) -> float | None:
    if metrics and which:
        metrics = metrics[which]
    return 100 * metrics["error"] if metrics else None


def _gap(result: Result) -> float | None:
    test, train = _percent(result.test, "last"), _percent(result.train)
    return None if test is None or train is None else test - train


def _delta(done: Sequence[Result], baseline: Sequence[Result] | None) -> Stat | None:
    if baseline is None:
        return None
    reference = {r.config["seed"]: _percent(r.test, "last") for r in baseline if r.status == "done"}
    pairs = [(_percent(r.test, "last"), reference.get(r.config["seed"])) for r in done]
    return Stat.of(a - b for a, b in pairs if a is not None and b is not None)


def _common(described: Sequence[dict[str, str]], varying: list[str], results: Sequence[Result]) -> dict[str, str]:
    if not described:
        return {}
    shared = {k: v for k, v in described[0].items() if all(words.get(k) == v for words in described)}
    kept = {k: v for k, v in shared.items() if k in (*GROUPS, "epochs", "batch_size", "data.val_size")}
    return {k: v for k, v in kept.items() if k not in varying and v not in ("none", "default", "constant")}


def render(table: Table, style: Format) -> Any:
    """A rich Table for `rich`, else text."""
    if style == "json":
        return json.dumps(_json(table), indent=1, allow_nan=False)
    if style == "rich":
        return _rich(table)
    import pandas as pd

    if style == "csv":
        return pd.DataFrame(_flat(table)).convert_dtypes().to_csv(index=False).rstrip("\n")
    frame = pd.DataFrame([_cells(table, row) for row in table.rows], dtype=str)
    if style == "md":
        cells = frame.map(lambda text: text.replace("|", "\\|"))
        return cells.to_markdown(index=False, disable_numparse=True) + "\n\n" + footer(table)
    cells = frame.map(_latex_escape).rename(columns=_latex_escape)
    comment = "\n".join(f"% {line}" for line in footer(table).splitlines())
    return cells.to_latex(index=False, escape=False, column_format="l" * len(frame.columns)) + comment


def footer(table: Table) -> str:
    """What every number in the table means."""
    shared = ", ".join(f"{k}={v}" for k, v in table.common.items())
    return (
        f"All runs: {shared or 'nothing in common'}.\n"
        "Errors in percent at the last epoch, mean ± sample standard deviation (n seeds); nothing was chosen on the test "
        "set. Δ: difference to the baseline row over the seeds both have. Gap: test minus training error."
    )


def stat(value: Stat | None, digits: int = 2, sign: bool = False) -> str:
    """`3.21 ± 0.10 (3)`; no ± for one value; a dash for none."""
    if value is None:
        return "—"
    plus = "+" if sign else ""
    spread = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{value.mean:{plus}.{digits}f}{spread} ({value.n})"


def _cells(table: Table, row: Row) -> dict[str, str]:
    """One row as the columns a person reads."""
    cells = {key: row.label[key] or "–" for key in table.columns} or {"run": "all"}
    bad = {k: n for k, n in row.status.items() if k != "done"}
    numbers = {
        "test error": stat(row.test_error),
        "Δ": "baseline" if row.delta is None and row.test_error else stat(row.delta, sign=True),
        "val error": stat(row.val_error),
        "gap": "—" if row.gap is None else f"{row.gap.mean:.2f}",
        "seconds": "—" if row.seconds is None else f"{row.seconds.mean:.1f}",
    }
    if any(set(r.status) - {"done"} for r in table.rows):
        numbers["not done"] = ", ".join(f"{n} {status}" for status, n in bad.items()) or "–"
    return {**cells, **numbers}


def _rich(table: Table) -> Any:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    rows = [_cells(table, row) for row in table.rows]
    # The caption is wider than a narrow table; `min_width` keeps it from breaking after every word.
    drawn = RichTable(box=box.SIMPLE_HEAD, caption=footer(table), caption_justify="left", min_width=72)
    for name in rows[0] if rows else ["run"]:
        drawn.add_column(name, justify="left" if name in table.columns else "right", no_wrap=name not in table.columns)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row.values()))
    return drawn


def _flat(table: Table) -> list[dict[str, Any]]:
    """One row as the columns a program reads; text that a spreadsheet would run as a formula is quoted."""
    flat = []
    for row in table.rows:
        cells: dict[str, Any] = {k: _no_formula(v) for k, v in row.label.items()}
        for name in ("test_error", "delta", "val_error", "train_error", "gap", "seconds"):
            value = getattr(row, name)
            cells |= {f"{name}_{part}": getattr(value, part, None) for part in ("mean", "sd", "n")}
        flat.append(
            cells | {status: row.status.get(status, 0) for status in ("done", "diverged", "failed", "interrupted")}
        )
    return flat


def _json(table: Table) -> dict[str, Any]:
    return asdict(table)


def _no_formula(text: str) -> str:
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "—": "---",
    "–": "--",
}


def _latex_escape(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)
