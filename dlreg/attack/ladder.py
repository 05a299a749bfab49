"""What is tried on a fitted model, rung by rung: of each image the worst that any rung found counts, on that one and above."""

from __future__ import annotations

from dlreg.attack.base import Ascent, Ball, Norm
from dlreg.hyper import Count, NonNegative, Positive


class Attack:
    """`rungs`: column -> the ascents that are tried there, on what the rungs below left right. Errors never fall."""

    rungs: dict[str, list[Ascent]]


class Nothing(Attack):
    """$$x' = x$$: the samples of the test set as they are."""

    def __init__(self) -> None:
        self.rungs = {}


class FGSM(Attack):
    """One step, $$x' = x + eps sign(dJ / dx)$$ with the training loss J, clipped to [0, 1]: one column, `fgsm_error`.

    Goodfellow, Shlens, Szegedy (2015), section 4, https://arxiv.org/abs/1412.6572. It is no measure of robustness: a
    network can learn to answer one step and nothing else. eps is in pixel units, of images in [0, 1]; the network is
    attacked as it predicts, in evaluation mode, on the test set's labels. `norm=l2`: $x + eps g / |g|$.
    """

    def __init__(self, *, eps: NonNegative, norm: Norm) -> None:
        self.rungs = {"fgsm_error": [Ascent(Ball(eps, norm), 1, eps, random_start=False)]}


class PGD(Attack):
    """`steps` of $$x' <- P(x' + s sign(dJ / dx'))$$ from a uniform random start, s = `step_size` (null: 2.5 eps / steps).

    Madry, Makelov, Schmidt, Tsipras, Vladu (2018), section 2.1, https://arxiv.org/abs/1706.06083. Three columns:
    `fgsm_error` (one step of eps from the sample), `pgd_error` (and one run of PGD), `robust_error` (and `restarts` - 1
    more). Each counts what any attack up to it got wrong, and what was wrong without one. A remark says when accuracy
    fell below chance, and when PGD alone did less than its single step, which no ascent that works can: gradients are
    masked then (Athalye, Carlini, Wagner 2018, section 3.1, https://arxiv.org/abs/1802.00420). Still only an upper bound
    of what stronger attacks leave.
    """

    def __init__(
        self, *, eps: NonNegative, norm: Norm, steps: Count, step_size: Positive | None, restarts: Count
    ) -> None:
        ball = Ball(eps, norm)
        many = Ascent(ball, steps, step_size or 2.5 * eps / steps, random_start=True)
        one = Ascent(ball, 1, eps, random_start=False)
        self.rungs = {"fgsm_error": [one], "pgd_error": [many], "robust_error": [many] * (restarts - 1)}
