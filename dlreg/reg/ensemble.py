"""Several models that predict together: bagging and ensembles of seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dlreg.context import derive_seed
from dlreg.data.base import Data
from dlreg.errors import UserError
from dlreg.hyper import Count
from dlreg.reg.base import Fit, Fitted, History, Regularizer
from dlreg.reg.predict import logits

Combine = Literal["average", "vote"]


class Committee(nn.Module):
    """Members that predict together, as the logarithm of probabilities; without a softmax, as the mean of the outputs.

    average: the mean of the members' probabilities. vote: (votes + 1) / (k + K) for k members and K classes, the rule of
    succession: its order is that of the votes, and a class without a vote has a finite loss. Ties go to the lower class.
    """

    def __init__(self, members: Sequence[nn.Module], combine: Combine, softmax: bool = True) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.combine, self.softmax = combine, softmax
        self.tasks: list[Any] = getattr(members[0], "tasks", [])  # beside the classes
        if combine == "vote" and not softmax:
            raise UserError("combine=vote needs a loss with a softmax, such as cross_entropy; give combine=average")

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> log probabilities, or outputs, (N, K)."""
        return self._combined([member(x) for member in self.members])

    def answer(self, task: Any, x: Tensor) -> Tensor:
        """The same of another task that the members have."""
        return self._combined([member.answer(task, x) for member in self.members])  # type: ignore[operator]

    def _combined(self, each: list[Tensor]) -> Tensor:
        outputs = torch.stack(each)
        if not self.softmax:
            return outputs.mean(0)
        if self.combine == "average":
            return outputs.log_softmax(2).logsumexp(0) - math.log(len(self.members))
        votes = nn.functional.one_hot(outputs.argmax(2), outputs.shape[2]).sum(0)
        return ((votes + 1) / (votes.shape[1] + len(self.members))).to(outputs.dtype).log()


class Ensemble(Regularizer):
    """k models that differ in their seed (initial weights, order of the samples, noise) predict together:
    $$p(y | x) = 1/k sum_i p_i(y | x)$$.

    Goodfellow et al. (2016), section 7.11 (k errors of variance v and covariance c: their mean's expected square is
    $v / k + (k - 1) c / k$), https://www.deeplearningbook.org/contents/regularization.html; Lakshminarayanan, Pritzel, Blundell
    (2017), https://arxiv.org/abs/1612.01474. The first member has the run's seed, so k = 1 is the plain run. The history is
    the members' mean per epoch; its seconds are their sum.
    """

    def __init__(self, *, k: Count, combine: Combine) -> None:
        self.k, self.combine = k, combine
        self.makes_committee = k > 1

    def train(self, fit: Fit, data: Data) -> Fitted:
        """Fit k times on the same data."""
        seeds = [self.context.seed, *(derive_seed(self.context.seed, f"{self.name}/{i}") for i in range(1, self.k))]
        return together([fit(data, seed=seed) for seed in seeds], self.combine)

    def squares(self, model: nn.Module) -> list[tuple[float, nn.Parameter]]:
        """None: it acts around fits, not in them."""
        return []


class Bagging(Regularizer):
    """k models, each trained on a bootstrap sample (as many draws with replacement as there are samples), predict together:
    $$p(y | x) = 1/k sum_i p_i(y | x)$$.

    Breiman (1996), section 1, https://doi.org/10.1007/BF00058655; out-of-bag error: each training sample is predicted by
    the members whose bootstrap missed it, Breiman (1996b),
    https://www.stat.berkeley.edu/~breiman/OOBestimation.pdf. Members differ in their sample only and share the run's seed;
    `reg=[bagging,ensemble]` varies both. The error is in the last row of the history, as `oob_error`, and in a remark.
    """

    def __init__(self, *, k: Count, combine: Combine) -> None:
        self.k, self.combine = k, combine
        self.makes_committee = k > 1

    def train(self, fit: Fit, data: Data) -> Fitted:
        """Fit k times, on k bootstraps."""
        n = len(data.train)
        generator = self.context.generator(f"bootstrap/{self.name}", "cpu")
        bags = [torch.randint(n, (n,), generator=generator).to(data.train.y.device) for _ in range(self.k)]
        fits = [fit(dataclasses.replace(data, train=data.train[bag])) for bag in bags]
        fitted = together(fits, self.combine)
        softmax = getattr(fitted.criterion, "softmax", True)
        error, covered = out_of_bag([one.last for one in fits], bags, data, self.combine, softmax)
        if error is not None:
            figure = data.task.figure
            text = f"error {error:.2%}" if figure == "error" else f"squared error {error:.4g}"
            fitted.history[-1][f"oob_{figure}"] = error
            fitted.remarks.append(f"{self.name}: out-of-bag {text} on {covered:,} of {n:,} training samples")
        return fitted

    def squares(self, model: nn.Module) -> list[tuple[float, nn.Parameter]]:
        """None: it acts around fits, not in them."""
        return []


def together(fits: Sequence[Fitted], combine: Combine) -> Fitted:
    """One Fitted out of several; a single one is itself."""
    if len(fits) == 1:
        return fits[0]
    best = [one.best_val for one in fits if one.best_val is not None]
    softmax = getattr(fits[0].criterion, "softmax", True)
    return dataclasses.replace(
        fits[0],
        last=Committee([one.last for one in fits], combine, softmax),
        best_val=Committee(best, combine, softmax) if len(best) == len(fits) else None,
        history=_mean_history([one.history for one in fits]),
        saw_val=any(one.saw_val for one in fits),
        remarks=list(dict.fromkeys(text for one in fits for text in one.remarks)),
    )


def out_of_bag(
    models: Sequence[nn.Module], bags: Sequence[Tensor], data: Data, combine: Combine, softmax: bool = True
) -> tuple[float | None, int]:
    """The error on the samples that some bag missed, each predicted by those bags' models; how many there are."""
    targets = data.task.targets(data.train.y)
    scores, votes = torch.zeros_like(targets), torch.zeros_like(targets[:, :1])
    for model, bag in zip(models, bags, strict=True):
        missed = torch.ones(len(data.train), dtype=torch.bool, device=bag.device).index_fill_(0, bag, False)
        if bool(missed.any()):
            outputs = logits(Committee([model], combine, softmax), data.train.x[missed])
            scores[missed] += outputs.exp() if softmax else outputs
            votes[missed] += 1
    covered = votes[:, 0] > 0
    wrong = data.task.missed(scores[covered] / votes[covered], targets[covered])
    n = int(covered.sum())
    return (float(wrong) / n if n else None), n


def _mean_history(histories: Sequence[History]) -> History:
    """Epoch by epoch, over the members that were still training."""
    longest = max(histories, key=len)
    return [_mean_row([h[i] for h in histories if i < len(h)]) for i in range(len(longest))]


def _mean_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for key in rows[0]:
        values = [row[key] for row in rows if row.get(key) is not None]
        share = 1 if key == "seconds" else len(values)
        found[key] = rows[0][key] if key == "epoch" else sum(values) / share if values else None
    return found
