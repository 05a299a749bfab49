"""Cross-validation in a table: folds stand where seeds do, and are no independent sample."""

from __future__ import annotations

from collections.abc import Iterable

from dlreg.run.result import Result


def overlap(runs: Iterable[Result]) -> float:
    """n_test / n_train of the folds, 1 / (folds - 1); 0 of runs that are no folds.

    The training sets of two folds share most of their samples, so the mean of J folds varies more than 1/J of their variance
    says, and no estimate of it is unbiased (Bengio & Grandvalet 2004). Nadeau & Bengio (2003), section 4, take
    (1/J + n_test/n_train) of it in place of 1/J, with J - 1 degrees of freedom; of several seeds J counts all their folds
    (Bouckaert & Frank 2004, section 3). https://doi.org/10.1023/A:1024068626366
    """
    folds = [int(k) for r in runs if (k := r.config["data"].get("folds"))]
    return 1 / (min(folds) - 1) if folds else 0.0


def told(runs: Iterable[Result]) -> str:
    """The footer's line; empty for runs that are no folds."""
    found = {(r.config["data"].get("folds"), r.config["seed"]) for r in runs if r.config["data"].get("folds")}
    if not found:
        return ""
    sizes, seeds = sorted({k for k, _ in found}), sorted({seed for _, seed in found})
    return (
        f"cross-validation, {' and '.join(map(str, sizes))} folds, seeds {', '.join(map(str, seeds))}: a run's validation set "
        "is its fold, and what chose an epoch or stopped by validation saw it. Training sets of folds overlap, so folds are no "
        "independent sample: every interval and verdict takes (1/J + n_test/n_train) of the variance over J folds in place "
        "of 1/J (Nadeau & Bengio 2003), and each row has its own test"
    )
