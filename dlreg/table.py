"""list[Result] -> rows with statistics, verdicts and the protocol behind them. Pure: nothing here runs or reads anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dlreg.config import GROUPS
from dlreg.label import describe, place, plainest, varying
from dlreg.result import Result
from dlreg.stats import Difference, Stat, best, binomial_se, detectable, differences

Select = Literal["last", "best_val"]
Format = Literal["rich", "md", "latex", "csv", "json", "html"]
FORMATS: tuple[Format, ...] = ("rich", "md", "latex", "csv", "json", "html")
STATUSES = ("done", "diverged", "failed", "interrupted", "missing")


@dataclass(frozen=True)
class Metric:
    """A number of a finished run, in the unit that tables print. Less is better for every one of them."""

    title: str
    of: Callable[[Result, Select], float | None]
    digits: int = 2
    counted: bool = False  # a percentage of the test images, so that it comes in steps


def _of_split(split: str, key: str, scale: float = 100.0) -> Callable[[Result, Select], float | None]:
    def value(result: Result, select: Select) -> float | None:
        metrics = getattr(result, split)
        if metrics and split != "train":
            metrics = metrics[select]
        found = metrics.get(key) if metrics else None
        return None if found is None else scale * found

    return value


def _gap(result: Result, select: Select) -> float | None:
    test, train = METRICS["test_error"].of(result, select), METRICS["train_error"].of(result, select)
    return None if test is None or train is None else test - train


METRICS = {
    "test_error": Metric("test error %", _of_split("test", "error"), counted=True),
    "top5_error": Metric("top-5 error %", _of_split("test", "top5_error"), counted=True),
    "nll": Metric("test NLL", _of_split("test", "loss", 1.0), digits=4),
    "ece": Metric("test ECE %", _of_split("test", "ece")),
    "val_error": Metric("val error %", _of_split("val", "error")),
    "train_error": Metric("train error %", _of_split("train", "error")),
    "train_loss": Metric("train loss", _of_split("train", "loss", 1.0), digits=4),
    "gap": Metric("gap", _gap),
    "seconds": Metric("seconds", lambda result, select: result.seconds, digits=1),
}
COLUMNS = ("test_error", "val_error", "gap", "seconds")  # of a table of folders; the first one is judged


@dataclass(frozen=True)
class Published:
    """What a paper prints for a row, and whether our run may be held against it."""

    value: float
    sd: float | None = None
    why_not: str | None = None  # why it is not comparable; None: it is


@dataclass(frozen=True)
class Row:
    """One combination of techniques over its seeds. Only runs that are done have numbers."""

    label: dict[str, str]  # what tells it from the others
    status: dict[str, int]  # how many runs ended how; they sum to the runs planned
    metrics: dict[str, Stat | None]
    difference: Difference | None = None  # to the baseline, in the first metric
    baseline: bool = False
    best: bool = False  # the best, and distinguishable from every other row
    published: dict[str, Published] = field(default_factory=dict)
    note: str = ""
    runs: tuple[Result, ...] = ()  # those that are done, for the curves

    @property
    def seeds(self) -> list[int]:
        """Of the runs that are done."""
        return sorted(r.config["seed"] for r in self.runs)

    @property
    def name(self) -> str:
        """The label in one line."""
        return ", ".join(v for v in self.label.values() if v) or "all"


@dataclass(frozen=True)
class Table:
    """Rows, the columns of their labels and of their numbers, and the protocol: what every number means."""

    columns: list[str]
    metrics: list[str]
    rows: list[Row]
    protocol: dict[str, str]
    select: Select = "last"
    title: str = ""
    text: str = ""


@dataclass(frozen=True)
class Group:
    """The runs of one row before they are judged."""

    label: dict[str, str]
    results: Sequence[Result]
    missing: int = 0  # planned, and not started
    published: Mapping[str, Published] = field(default_factory=dict)
    note: str = ""


def compare(
    results: Sequence[Result],
    baseline: str | None = None,
    metrics: Sequence[str] = COLUMNS,
    select: Select = "last",
) -> Table:
    """Group runs that differ in the seed alone; label each group by what differs between groups.

    The baseline is the row whose label contains `baseline`, or else the one with the fewest techniques.
    """
    described = [describe(r.config) for r in results]
    keys = varying(described)
    groups: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for result, words in zip(results, described, strict=True):
        groups.setdefault(tuple((key, words.get(key, "")) for key in keys), []).append(result)
    labels = list(groups)
    base = plainest(labels, baseline)
    return judge([Group(dict(label), groups[label]) for label in labels], base, metrics, select)


def judge(
    groups: Sequence[Group],
    base: int | None,
    metrics: Sequence[str] = COLUMNS,
    select: Select = "last",
    **protocol: str,
) -> Table:
    """The table of these groups: `base` is the baseline's index, the first metric is the one that verdicts are about.

    `protocol` adds lines of its own to the footer.
    """
    metric = METRICS[metrics[0]]
    done = [[r for r in g.results if r.status == "done"] for g in groups]
    values = [{r.config["seed"]: value for r in runs if (value := metric.of(r, select)) is not None} for runs in done]
    samples = [
        r.test[select]["samples"] for runs in done for r in runs if r.test and (r.test[select] or {}).get("samples")
    ]
    resolution = 100 / max(samples) if metric.counted and samples else 0.0
    found = differences(values, base, resolution)
    winner = best(values, base, resolution)
    rows = [
        Row(
            label=group.label,
            status=_status(group),
            metrics={m: Stat.of(METRICS[m].of(r, select) for r in runs) for m in metrics},
            difference=found[i],
            baseline=i == base,
            best=i == winner,
            published=dict(group.published),
            note=group.note,
            runs=tuple(runs),
        )
        for i, (group, runs) in enumerate(zip(groups, done, strict=True))
    ]
    columns = list(dict.fromkeys(key for g in groups for key in g.label))
    return Table(columns, list(metrics), rows, _protocol(rows, groups, metrics, select, samples) | protocol, select)


def arranged(table: Table) -> Table:
    """The same table with the baseline on top and the rest in the order of their labels, plain options first."""
    rows = sorted(table.rows, key=lambda row: (not row.baseline, place(row.label.values())))
    return replace(table, rows=rows)


def render(table: Table, style: Format) -> Any:
    """A rich renderable for `rich`, else text."""
    from dlreg import html, text

    return html.page(table) if style == "html" else text.RENDERERS[style](table)


def curve(runs: Iterable[Result], key: str) -> list[tuple[int, Stat]]:
    """A learning curve over runs: the epoch and the values there, errors in percent, while at least one run goes on."""
    by_epoch: dict[int, list[float]] = {}
    scale = 100 if key.endswith("error") else 1
    for run in runs:
        for entry in run.history:
            if entry.get(key) is not None:
                by_epoch.setdefault(entry["epoch"], []).append(scale * entry[key])
    return [(epoch, stat) for epoch in sorted(by_epoch) if (stat := Stat.of(by_epoch[epoch]))]


def _status(group: Group) -> dict[str, int]:
    counts = Counter(r.status for r in group.results)
    return {s: counts[s] for s in STATUSES if counts[s]} | ({"missing": group.missing} if group.missing else {})


def _protocol(
    rows: Sequence[Row], groups: Sequence[Group], metrics: Sequence[str], select: Select, samples: Sequence[int]
) -> dict[str, str]:
    """The footer: how every number came about, and what the reader must be warned of."""
    results = [r for g in groups for r in g.results]
    done = [r for row in rows for r in row.runs]
    lines = {"All runs": _shared(results), "Data": _data(done), "Seeds": _seeds(rows)}
    lines["Selection"] = (
        "numbers at the last epoch" if select == "last" else "numbers at the epoch with the lowest validation error"
    ) + "; nothing was chosen on the test set, which was read once per run"
    lines["Numbers"] = (
        "mean ± sample standard deviation (n runs), [95 % interval of the mean by Student's t]"
        + ("; gap: test minus training error" if "gap" in metrics else "")
        + (f"; Δ: difference to the baseline in {METRICS[metrics[0]].title} over the seeds both have, paired t-test, "
           f"Holm's correction over {_tests(rows)} rows at 5 %; bold: best, and distinguishable from every other row"
           if any(row.baseline for row in rows) else "")
    )  # fmt: skip
    lines["Precision"] = _precision(rows, metrics[0], samples)
    lines["Budget"] = _budget(rows)
    lines["Runs"] = _runs(rows)
    lines["Made with"] = _made_with(done)
    lines["Warning"] = _mixed(done)
    lines["Remarks"] = "; ".join(_alike(remark for r in done for remark in r.remarks))
    return {name: text for name, text in lines.items() if text}


def _alike(remarks: Iterable[str]) -> list[str]:
    """Each remark once; those that differ in their numbers alone count as one."""
    kinds: dict[str, list[str]] = {}
    for remark in remarks:
        kinds.setdefault(re.sub(r"\d[\d.,]*", "#", remark), []).append(remark)
    return [f"{found[0]} ({len(found)} runs alike)" if len(found) > 1 else found[0] for found in kinds.values()]


def _shared(results: Sequence[Result]) -> str:
    """`data=mnist (val_size 0.1), model=mlp (hidden 800x800), ...`: what the runs agree on."""
    described = [describe(r.config) for r in results]
    if not described:
        return ""
    common = {k: v for k, v in described[0].items() if all(words.get(k) == v for words in described)}
    parts = []
    for key, value in common.items():
        if "." in key or (value in ("none", "default", "constant") and key in GROUPS):
            continue
        inner = [f"{k.split('.', 1)[1]} {v}" for k, v in common.items() if k.startswith(f"{key}.") and key in GROUPS]
        inner = [text for text in inner if not text.endswith((" None", " warmup 0.0")) and text != "warmup 0.0"]
        parts.append(f"{key}={value}" + (f" ({', '.join(inner)})" if inner else ""))
    return ", ".join(parts)


def _data(done: Sequence[Result]) -> str:
    sizes = {
        tuple((m or {}).get("samples") for m in (r.train, (r.val or {}).get("last"), (r.test or {}).get("last")))
        for r in done
    }
    if len(sizes) != 1 or None in (only := next(iter(sizes))):
        return ""
    train, val, test = only
    return f"{train:,} training, {val:,} validation (held out of the training split), {test:,} test samples"


def _seeds(rows: Sequence[Row]) -> str:
    sets = {tuple(row.seeds) for row in rows if row.runs}
    if not sets:
        return ""
    if len(sets) > 1:
        counts = sorted({len(s) for s in sets})
        return f"UNEQUAL: rows have {counts[0]} to {counts[-1]} finished seeds, and not all the same ones"
    seeds = ", ".join(map(str, next(iter(sets))))
    return f"{seeds}; the same seed is the same split, initialization and order of the data in every row"


def _tests(rows: Sequence[Row]) -> int:
    return sum(row.difference is not None and row.difference.p is not None for row in rows)


def _precision(rows: Sequence[Row], metric: str, samples: Sequence[int]) -> str:
    parts = []
    means = [s.mean for row in rows if (s := row.metrics[metric])]
    if METRICS[metric].counted and samples and means and len(set(samples)) == 1:
        low = min(means)
        parts.append(
            f"luck in the {samples[0]:,} test samples alone is a standard error of "
            f"{100 * binomial_se(low / 100, samples[0]):.2f} points at {low:.2f} %"
        )
    paired = [d.stat for row in rows if (d := row.difference) and d.stat.sd]
    if paired:
        n = min(stat.n for stat in paired)
        spread = sorted(stat.sd for stat in paired if stat.sd)[len(paired) // 2]
        effect = detectable(n, _tests(rows)) * spread
        parts.append(
            f"smallest difference that {n} seeds show with 80 % power: about {effect:.{METRICS[metric].digits}f} "
            f"(median sd of the paired differences {spread:.{METRICS[metric].digits}f})"
        )
    return "; ".join(parts)


def _budget(rows: Sequence[Row]) -> str:
    """Wall time, and a flag if rows had unequal training."""
    seconds = [s.mean for row in rows if (s := Stat.of(r.seconds for r in row.runs))]
    if not seconds:
        return ""
    total = sum(r.seconds or 0.0 for row in rows for r in row.runs)
    text = f"{duration(total)} of training and evaluation in all, {min(seconds):.1f} to {max(seconds):.1f} s per run"
    for key, what in (("epochs", "epochs"), ("batch_size", "batch sizes")):
        different = sorted({str(r.config[key]) for row in rows for r in row.runs})
        if len(different) > 1:
            text += f"; UNEQUAL {what}: {', '.join(different)}"
    if len({(r.train or {}).get("samples") for row in rows for r in row.runs}) > 1:
        text += "; UNEQUAL training set sizes"
    return text


def _runs(rows: Sequence[Row]) -> str:
    counts = Counter({s: sum(row.status.get(s, 0) for row in rows) for s in STATUSES})
    return f"{counts.total()} planned = " + " + ".join(f"{n} {s}" for s, n in counts.items() if n or s == "done")


def _made_with(done: Sequence[Result]) -> str:
    versions = [
        f"{name} {'/'.join(_all(r.versions.get(name) for r in done))}" for name in _names(r.versions for r in done)
    ]
    commits = _all((r.git or {}).get("commit", "")[:10] + "+changes" * bool((r.git or {}).get("changed")) for r in done)
    machine = [f"{name} {'/'.join(_all(r.fingerprint.get(name) for r in done))}"
               for name in _names(r.fingerprint for r in done) if name != "torch"]  # fmt: skip
    git = f" (git {', '.join(commits)})" if any(commits) else ""
    return f"{', '.join(versions)}{git}; {', '.join(machine)}" if versions else ""


def _mixed(done: Sequence[Result]) -> str:
    """What differs between runs besides their configs."""
    found = [f"{name} {' and '.join(values)}" for name in _names(r.fingerprint for r in done)
             if len(values := _all(r.fingerprint.get(name) for r in done)) > 1]  # fmt: skip
    if len(versions := _all(r.versions.get("dlreg") for r in done)) > 1:
        found.append(f"dlreg {' and '.join(versions)}")
    if len(commits := _all((r.git or {}).get("commit") for r in done)) > 1:
        found.append(f"{len(commits)} commits of dlreg")
    mixed = [f"MIXED fingerprints ({', '.join(found)}): paired seeds may not be the same bits"] if found else []
    peeked = sum(r.test_reads != 1 for r in done)
    return "; ".join([*mixed, *([f"{peeked} runs did not read the test set exactly once"] if peeked else [])])


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _all(values: Iterable[Any]) -> list[str]:
    return sorted({str(v) for v in values if v is not None})


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
