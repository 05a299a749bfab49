"""What stands under a table: how every number came about, and what the reader must be warned of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from dlreg.config.schema import GROUPS, LATER, LATER_DATA
from dlreg.report import folds
from dlreg.report.label import describe, typed
from dlreg.report.metrics import METRICS
from dlreg.report.question import Question
from dlreg.report.stats import binomial_se
from dlreg.report.table import Row
from dlreg.run.result import STATUSES, Result

MOST = 8  # rows that a line names one by one
PAIRED = "the same seed is the same split, initialization and order of the data in every row"
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def protocol_of(
    rows: Sequence[Row], results: Sequence[Result], question: Question, samples: Sequence[int], test: str
) -> dict[str, str]:
    """The lines of the footer; those that have nothing to say are left out."""
    done = [r for row in rows for r in row.runs]
    lines = {
        "All runs": _shared(results),
        "Data": _data(done),
        "Seeds": _seeds(rows, bool(question.looks)),
        "Folds": folds.told(done),
    }
    epoch = "last epoch" if question.select == "last" else "epoch with the lowest validation error"
    lines["Selection"] = f"numbers at the {epoch}; no run chose anything on the test set, which each reads once"
    lines["Numbers"] = _numbers(rows, question)
    lines["Verdicts"] = _verdicts(rows, question, test)
    lines["Precision"] = _precision(rows, question.metrics[0], samples)
    if len(results) > 1 or not done:  # of one run the table says it all
        lines["Budget"] = _budget(rows)
    lines["Runs"] = _runs(rows)
    lines["Made with"] = _made_with(done)
    lines["Warning"] = _mixed(rows)
    lines["Remarks"] = "; ".join(_remarks(rows))
    return {name: text for name, text in lines.items() if text}


def _remarks(rows: Sequence[Row]) -> list[str]:
    """Each remark once, with the rows that have it; those that differ in their numbers alone are one, with its ranges."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for remark in (remark for r in row.runs for remark in r.remarks):
            kinds.setdefault(_NUMBER.sub("#", remark), []).append((row.name, remark))
    found = []
    for kind, told in kinds.items():
        names = list(dict.fromkeys(name for name, _ in told))
        numbers = zip(*(_NUMBER.findall(remark) for _, remark in told), strict=True)
        ranges = [
            min(n, key=float) if len(set(n)) == 1 else f"{min(n, key=float)} to {max(n, key=float)}" for n in numbers
        ]
        text = "".join(part for pair in zip_longest(kind.split("#"), ranges, fillvalue="") for part in pair)
        found.append(f"{text} ({', '.join(names)}: {len(told)} run{'s' * (len(told) != 1)})")
    return found


def _shared(results: Sequence[Result]) -> str:
    """`data=mnist (val_size 0.1), model=mlp (hidden 800x800), ...`: what the runs agree on."""
    described = [describe(r.config) for r in results]
    if not described:
        return ""
    silent = {k: typed(v) for k, v in (LATER | {f"data.{k}": v for k, v in LATER_DATA.items()}).items()}
    common = {k: v for k, v in described[0].items() if all(words.get(k) == v != silent.get(k) for words in described)}
    parts = []
    for key, value in common.items():
        if "." in key or (value in ("none", "default", "constant", "cross_entropy") and key in GROUPS):
            continue
        inner = [
            f"{k.split('.', 1)[1]} {v}"
            for k, v in common.items()
            if k.startswith(f"{key}.") and key in GROUPS and not k.endswith("_target_")
        ]
        inner = [text for text in inner if not text.endswith((" null", " warmup 0.0")) and text != "warmup 0.0"]
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


def _seeds(rows: Sequence[Row], by_looks: bool) -> str:
    sets = {tuple(row.seeds) for row in rows if row.runs}
    if not sets or (len(sets) == 1 and folds.overlap(r for row in rows for r in row.runs)):
        return ""
    if len(sets) > 1:
        counts = sorted({len(s) for s in sets})
        if by_looks:
            return f"auto: rows have {counts[0]} to {counts[-1]} of them, each the first of 0, 1, 2, ...; {PAIRED}"
        lost = any(set(row.status) - {"done"} for row in rows)
        added = not lost and len(counts) > 1 and all(s == tuple(range(len(s))) for s in sets)
        looks = (
            "; if seeds were added while looking, the 5 % of the verdicts does not hold: seeds=auto judges such runs"
        )
        return (
            f"UNEQUAL: rows have {counts[0]} to {counts[-1]} finished seeds, and not all the same ones{looks * added}"
        )
    seeds = ", ".join(map(str, next(iter(sets))))
    return f"{seeds}; {PAIRED}" if len(rows) > 1 else seeds


def _numbers(rows: Sequence[Row], question: Question) -> str:
    """What stands in the columns; of columns that are not there nothing is said."""
    parts = []
    stats = [stat for row in rows for stat in row.metrics.values() if stat]
    if any(stat.sd is not None for stat in stats):
        parts.append("mean ± sample standard deviation (n runs), [95 % interval of the mean by Student's t]")
    elif stats and len(rows) > 1:
        parts.append("single runs")
    if any(row.difference and row.difference.stat and row.difference.stat.sd is not None for row in rows):
        parts.append("Δ: mean ± sample standard deviation of the differences between runs of the same seed")
    if "gap" in question.metrics:
        parts.append("gap: test minus training error")
    if question.select != "last" and any(name == "gap" or "train" in name for name in question.metrics):
        parts.append("training numbers, also in a gap, are those of the last epoch")
    return "; ".join(parts)


def _verdicts(rows: Sequence[Row], question: Question, test: str) -> str:
    """What Δ is, how it was judged, and what the verdicts mean."""
    if not any(row.against for row in rows):
        return ""
    metric = METRICS[question.metrics[0]]
    control = "the baseline" if len({row.against for row in rows if row.against}) == 1 else "the row named beside it"
    text = f"Δ: difference to {control} in {metric.title} over the seeds both have ({metric.better} is better)"
    if test:
        text += f"; {test}; not decided: neither shown to differ nor shown to be equal"
        if question.margin is not None:
            text += f"; equivalent: two one-sided tests put it within {question.margin:g}, at 5 % for all rows together"
        text += "; bold: best, and different from every other row"
    return f"{text}. {_population(rows, question)}" if test else text


def _population(rows: Sequence[Row], question: Question) -> str:
    """In plain words, what the intervals and the verdicts are about."""
    known = any(row.difference and row.difference.images for row in rows)
    counted = (metric := METRICS[question.metrics[0]]).counted
    these = "these test images" if counted else metric.about
    others = "; the runs kept no record of which images were wrong, so nothing is said of other test images" * counted
    if known:
        others = "; new images: what it would give on other test images of the same kind (seeds and images as random effects)"
        others += ", each row by itself"
    verdicts = "hold for both" if question.population == "images" else f"are about {these}"
    return f"95 % of Δ says what training again would give on {these}{others}. Verdicts {verdicts}"


def _precision(rows: Sequence[Row], metric: str, samples: Sequence[int]) -> str:
    parts = []
    digits = METRICS[metric].digits
    means = [s.mean for row in rows if (s := row.metrics[metric])]
    if METRICS[metric].counted and samples and means and len(set(samples)) == 1:
        best = min(means) if METRICS[metric].better == "lower" else max(means)
        parts.append(
            f"luck in the {samples[0]:,} test samples alone is a standard error of "
            f"{100 * binomial_se(best / 100, samples[0]):.2f} points at {best:.2f} %"
        )
    undecided = [
        (d.detectable, row.quoted) for row in rows if (d := row.difference) and d.detectable and "decided" in d.verdict
    ]
    if len(undecided) > MOST:  # the quietest and the loudest row
        undecided = [min(undecided), max(undecided)]
    if undecided:
        least = ", ".join(f"{name} {value:.{digits}f}" for value, name in undecided)
        parts.append(f"smallest difference that as many seeds show with 80 % power: {least}")
    return "; ".join(parts)


def _budget(rows: Sequence[Row]) -> str:
    """Wall time, and a flag if rows had unequal training."""
    seconds = [r.seconds for row in rows for r in row.runs if r.seconds is not None]
    if not seconds:
        return ""
    text = f"{duration(sum(seconds))} of training and evaluation in all, {min(seconds):.1f} to {max(seconds):.1f} s per run"
    for key, what in (("epochs", "epochs"), ("batch_size", "batch sizes")):
        different = sorted({str(r.config[key]) for row in rows for r in row.runs})
        if len(different) > 1:
            text += f"; UNEQUAL {what}: {', '.join(different)}"
    if len({(r.train or {}).get("samples") for row in rows for r in row.runs}) > 1:
        text += "; UNEQUAL training set sizes"
    return text


def _runs(rows: Sequence[Row]) -> str:
    counts = Counter({s: sum(row.status.get(s, 0) for row in rows) for s in STATUSES})
    if counts.total() == counts["done"] == 1:
        return ""
    return f"{counts.total()} planned = " + " + ".join(f"{n} {s}" for s, n in counts.items() if n or s == "done")


def _made_with(done: Sequence[Result]) -> str:
    versions = [
        f"{name} {'/'.join(_all(r.versions.get(name) for r in done))}" for name in _names(r.versions for r in done)
    ]
    commits = _all(
        str((r.git or {}).get("commit") or "")[:10] + "+changes" * bool((r.git or {}).get("changed")) for r in done
    )
    machine = [f"{name} {'/'.join(_all(r.fingerprint.get(name) for r in done))}"
               for name in _names(r.fingerprint for r in done) if name != "torch"]  # fmt: skip
    git = f" (git {', '.join(commits)})" if any(commits) else ""
    return f"{', '.join(versions)}{git}; {', '.join(machine)}" if versions else ""


def _mixed(rows: Sequence[Row]) -> str:
    """What differs between runs besides their configs; threads follow from the size of a row's net, and may differ so."""
    done = [r for row in rows for r in row.runs]
    values = {name: _all(r.fingerprint.get(name) for r in done) for name in _names(r.fingerprint for r in done)}
    within = any(len(_all(r.fingerprint.get("threads") for r in row.runs)) > 1 for row in rows)
    found = [
        f"{name} {' and '.join(of)}" for name, of in values.items() if len(of) > 1 and (name != "threads" or within)
    ]
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
