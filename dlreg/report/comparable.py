"""Which rows may be held against each other: the same data, every planned seed once, no run that ended early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dlreg.config.schema import walk
from dlreg.run.result import NOT_IDENTITY_DATA, Result, replicate

# What a row may do to the training data and still be tested on the same images, split by the same seeds.
TREATMENTS = ("train_size", "label_noise", "corruption", "normalize")


def data_of(results: Sequence[Result]) -> Mapping[str, Any]:
    """The data set and split of a row, key by key."""
    config = results[0].config["data"] if results else {}
    return {key: value for key, value in config.items() if key not in (*TREATMENTS, "fold", *NOT_IDENTITY_DATA)}


def other_data(row: Sequence[Result], control: Sequence[Result]) -> str | None:
    """Why two rows were not tested on the same images: `other data (name digits, not mnist)`; None if they were."""
    if not row or not control:
        return None
    a = {**data_of(row), "test samples": _tested(row)}
    b = {**data_of(control), "test samples": _tested(control)}
    return next((f"other data ({k} {a.get(k)}, not {b.get(k)})" for k in {**a, **b} if a.get(k) != b.get(k)), None)


def _tested(row: Sequence[Result]) -> int | None:
    last = next((found for r in row if r.test and (found := r.test.get("last"))), None)
    return int(last["samples"] or 0) if last else None


def repeated(done: Sequence[Result]) -> str | None:
    """Why a row is no sample: `two runs of seed 0 (optimizer._target_ differs)`; None if every seed stands there once."""
    counts = Counter(replicate(r.config) for r in done)
    seed, count = max(counts.items(), key=lambda item: item[1], default=(0, 0))
    if count < 2:
        return None
    trees = [dict(walk(r.config)) for r in done if replicate(r.config) == seed]
    keys = {key: None for tree in trees for key in tree}
    differing = [key for key in keys if len({str(tree.get(key)) for tree in trees}) > 1]
    why = f" ({', '.join(differing[:3])} {'differs' if len(differing) == 1 else 'differ'})" if differing else ""
    return f"{count} runs of seed {seed}{why}"


def ended_early(results: Sequence[Result], planned: int) -> str | None:
    """`2 of 5 diverged`: the seeds that are left are not a sample of what the row does; None if none diverged or failed."""
    counts = Counter(r.status for r in results)
    bad = [f"{counts[status]} of {planned} {status}" for status in ("diverged", "failed") if counts[status]]
    return ", ".join(bad) or None


def alike(row: Sequence[Result], control: Sequence[Result]) -> bool:
    """Whether every run of a row has the numbers of its control's run of the same seed, to the last bit."""
    mine, theirs = ({replicate(r.config): (r.train, r.val, r.test) for r in runs} for runs in (row, control))
    return bool(mine) and mine == theirs
