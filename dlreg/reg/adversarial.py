"""Adversarial training: the samples of a batch are moved to where the loss is larger, as far as a ball allows.

An attack looks at the network as it predicts, in evaluation mode: batch normalization uses its running moments, nothing is
dropped, no random number of another technique is drawn. Its gradient is with respect to the inputs alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from dlreg.attack.base import Ascent, Ball, Norm
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.hyper import Count, Fraction, NonNegative, Positive
from dlreg.passes import as_it_predicts
from dlreg.reg.base import Regularizer

Size = Positive | None  # of a step, in pixel units


class Adversarial(Regularizer):
    """Trains on `mix` parts of the samples as they are and 1 - `mix` parts of them attacked by `ascent`."""

    needs_unit = True

    def __init__(self, ascent: Ascent, mix: float) -> None:
        self.ascent, self.mix = ascent, mix

    def remark(self) -> str | None:
        """When nothing is attacked."""
        if self.mix == 1:
            return f"{self.name} has mix 1: it trains on no attacked sample"
        return None if self.ascent.ball.eps else f"{self.name} has eps 0"

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Without clean samples: the attacked batch in the place of the batch."""
        return (self.attacked(model, x, y), y) if self.ascent.ball.eps and not self.mix else (x, y)

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """With clean samples: what turns loss(x) into mix loss(x) + (1 - mix) loss(x')."""
        if not self.ascent.ball.eps or self.mix in (0, 1):
            return 0.0
        with self.context.aside():
            outputs = model(self.attacked(model, x, y)).to(y.dtype)
        loss = self.context.criterion
        return (1 - self.mix) * (loss(outputs, y) - loss(logits, y))

    def attacked(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """x where the training loss is larger."""
        with as_it_predicts(model):
            return self.ascent(
                lambda x: self.context.criterion(model(x).to(y.dtype), y, reduction="sum"), x, self.generator
            )


class FGSM(Adversarial):
    """$$mix J(x, y) + (1 - mix) J(x', y); x' = x + eps sign(dJ / dx)$$ with the training loss J: the fast gradient sign
    method.

    Goodfellow, Shlens, Szegedy (2015), section 6, https://arxiv.org/abs/1412.6572, whose mix is .5; `mix=0` trains on attacked
    samples only. eps is in pixel units, of images in [0, 1] before their normalization. With `random_start` and a
    `step_size` of 1.25 eps (null: eps) it is Wong, Rice, Kolter (2020), Algorithm 3, https://arxiv.org/abs/2001.03994. One
    step can be learned by heart: under stronger attacks accuracy may then fall to 0 within an epoch (their section 5), which
    `attack=pgd` shows. `norm=l2`: $x + eps g / |g|$. Under mixup and smoothing y is what these made of it.
    """

    def __init__(self, *, eps: NonNegative, norm: Norm, mix: Fraction, random_start: bool, step_size: Size) -> None:
        super().__init__(Ascent(Ball(eps, norm), 1, step_size or eps, random_start), mix)


class PGD(Adversarial):
    """$$min_w mean max_(|x' - x| <= eps) J(x', y)$$, the maximum sought by `steps` of $$x' <- P(x' + s sign(dJ / dx'))$$ from a
    uniform random start, s = `step_size` (null: 2.5 eps / steps, which can reach the border and move along it).

    Madry, Makelov, Schmidt, Tsipras, Vladu (2018), eq. 2.1 and section 2.1, https://arxiv.org/abs/1706.06083, who train on
    attacked samples only (`mix=0`; their MNIST: eps .3, 40 steps of .01). `mix` > 0 adds clean ones as in `fgsm`. P projects
    onto the ball and [0, 1]. Each step costs a pass through the network and back.
    """

    def __init__(
        self, *, eps: NonNegative, norm: Norm, mix: Fraction, random_start: bool, steps: Count, step_size: Size
    ) -> None:
        super().__init__(Ascent(Ball(eps, norm), steps, step_size or 2.5 * eps / steps, random_start), mix)


class Smooth(Regularizer):
    """Adds a cost of outputs that asks for no label, and so can be had of samples without one."""

    needs_classes = True

    @property
    def needs_softmax(self) -> bool:
        """Whether it works with probabilities."""
        return True

    def setup(self, model: nn.Module) -> nn.Module:
        """Refuse outputs that are no logits."""
        if self.needs_softmax and not self.context.softmax:
            raise UserError(
                f"reg={self.name} works with probabilities, and this loss has none; give one with a softmax, such as "
                "cross_entropy"
            )
        return model

    def draw(self, n: int) -> Tensor | None:
        """n samples of those without a label, with replacement; None where every sample has one."""
        pool = self.context.pool
        if pool is None:
            return None
        return to_unit(pool[torch.randint(len(pool), (n,), device=pool.device, generator=self.generator)])


class TRADES(Smooth):
    """$$loss + beta mean max_(|x' - x| <= eps) KL(p(x) || p(x'))$$: accuracy traded against robustness.

    Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan (2019), eq. 5 (their 1 / lambda is beta), https://arxiv.org/abs/1901.08573. As
    in the authors' code (https://github.com/yaodongyu/TRADES) x' is sought in evaluation mode from x + .001 N(0, 1), the
    gradient flows through both p, and the running moments of batch normalization see both passes. Their MNIST: eps .3, 40
    steps of .01, beta 1 to 6. `step_size=null`: 2.5 eps / steps.
    """

    needs_unit = True

    def __init__(self, *, beta: NonNegative, eps: NonNegative, norm: Norm, steps: Count, step_size: Size) -> None:
        self.beta, self.ball = beta, Ball(eps, norm)
        self.ascent = Ascent(self.ball, steps, step_size or 2.5 * eps / steps, random_start=False)

    def remark(self) -> str | None:
        """When it adds nothing."""
        return None if self.beta and self.ball.eps else f"{self.name} has {'eps' if self.beta else 'beta'} 0"

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """beta times the mean divergence."""
        if not self.beta or not self.ball.eps:
            return 0.0
        with as_it_predicts(model):
            here = model(x).detach()
            start = self.ball.onto(x, x + x.new_empty(x.shape).normal_(0, 1e-3, generator=self.generator))
            other = self.ascent(lambda x: divergence(here, model(x)).sum(), start, self.generator)
            other = self.ball.onto(x, other)
        with self.context.aside():
            moved = model(other).to(logits.dtype)
        return self.beta * divergence(logits, moved).mean()


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(softmax(logits) || softmax(others)) of each sample, `(N,)`."""
    return kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="none", log_target=True).sum(1)
