"""What stands under a table: how every number came about, and what the reader must be warned of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlreg.config.schema import GROUPS
from dlreg.report.label import describe
from dlreg.report.metrics import METRICS, Select
from dlreg.report.stats import Stat, binomial_se, detectable
from dlreg.report.table import Row
from dlreg.run.result import STATUSES, Result


def protocol_of(
    rows: Sequence[Row], results: Sequence[Result], metrics: Sequence[str], select: Select, samples: Sequence[int]
) -> dict[str, str]:
    """The lines of the footer; those that have nothing to say are left out."""
    done = [r for row in rows for r in row.runs]
    lines = {"All runs": _shared(results), "Data": _data(done), "Seeds": _seeds(rows)}
    lines["Selection"] = (
        "numbers at the last epoch" if select == "last" else "numbers at the epoch with the lowest validation error"
    ) + "; nothing was chosen on the test set, which was read once per run"
    tests = _tests(rows)
    lines["Numbers"] = (
        "mean ± sample standard deviation (n runs), [95 % interval of the mean by Student's t]"
        + ("; gap: test minus training error" if "gap" in metrics else "")
        + (f"; Δ: difference to the baseline in {METRICS[metrics[0]].title} over the seeds both have, paired t-test, "
           f"Holm's correction over {tests} row{'s' * (tests != 1)} at 5 %; "
           "bold: best, and distinguishable from every other row"
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
        inner = [
            f"{k.split('.', 1)[1]} {v}"
            for k, v in common.items()
            if k.startswith(f"{key}.") and key in GROUPS and not k.endswith("_target_")
        ]
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
    commits = _all(
        str((r.git or {}).get("commit") or "")[:10] + "+changes" * bool((r.git or {}).get("changed")) for r in done
    )
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
