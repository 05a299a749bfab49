"""Virtual adversarial training: an attack that needs no label."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dlreg.attack.base import slope, unit
from dlreg.errors import UserError
from dlreg.hyper import Count, NonNegative, Positive
from dlreg.passes import as_it_predicts, frozen_statistics
from dlreg.reg.adversarial import Smooth, divergence


class VAT(Smooth):
    """$$loss + alpha mean KL(p(x) || p(x + r)); r = eps d / |d|$$ with d the direction in which p changes fastest.

    Miyato, Maeda, Koyama, Ishii (2018), eq. 5 to 8 and Algorithm 1, https://arxiv.org/abs/1704.03976. d is the leading
    eigenvector of the Hessian of the divergence at r = 0 (of Fisher's matrix with respect to x), found by `steps` of power
    iteration from a random direction, $d <- grad_r KL(p(x) || p(x + r))$ at $r = xi d / |d|$: the Hessian times xi d, as
    long as xi is small (their code has xi = 1e-6, which single precision rounds off). p(x) is a constant. eps is an L2
    norm in pixel units; x + r may leave [0, 1]. d is sought in evaluation mode; the pass at x + r is one of training that
    does not move running moments. Where labels are missing (`data.labelled`), the samples without one take part: `unlabelled`
    of them an update, beside the batch or, with `labelled=false`, alone.
    """

    def __init__(
        self,
        *,
        alpha: NonNegative,
        eps: NonNegative,
        xi: Positive,
        steps: Count,
        unlabelled: Count,
        labelled: bool,
    ) -> None:
        self.alpha, self.eps, self.xi, self.steps = alpha, eps, xi, steps
        self.unlabelled, self.labelled = unlabelled, labelled

    def setup(self, model: nn.Module) -> nn.Module:
        """Refuse to do without the batch where there is nothing else."""
        if not self.labelled and self.context.pool is None:
            raise UserError(
                f"reg.{self.name}.labelled=false leaves samples without a label only: give data.labelled=100, for example"
            )
        return super().setup(model)

    def remark(self) -> str | None:
        """When it adds nothing."""
        return None if self.alpha and self.eps else f"{self.name} has {'eps' if self.alpha else 'alpha'} 0"

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the samples without a label that this update sees."""
        self.beside = self.draw(self.unlabelled) if self.alpha and self.eps else None
        return x, y

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """alpha times the mean divergence, over the samples without a label and those of the batch that take part."""
        if not self.alpha or not self.eps:
            return 0.0
        here = logits.detach()
        if self.beside is not None:
            with self.context.aside(), frozen_statistics(model), torch.no_grad():
                said = model(self.beside).to(here.dtype)
            here, x = (torch.cat([here, said]), torch.cat([x, self.beside])) if self.labelled else (said, self.beside)
        r = self.eps * self.direction(model, x)
        with self.context.aside(), frozen_statistics(model):
            moved = model(x + r).to(logits.dtype)
        return self.alpha * divergence(here, moved).mean()

    def direction(self, model: nn.Module, x: Tensor) -> Tensor:
        """Unit vectors d, one per sample."""
        d = unit(torch.empty_like(x).normal_(generator=self.generator))
        with as_it_predicts(model):
            here = model(x).detach()
            for _ in range(self.steps):
                d = unit(slope(lambda r: divergence(here, model(x + r)).sum(), self.xi * d))
        return d
