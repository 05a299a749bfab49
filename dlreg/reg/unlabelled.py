"""Techniques for samples without a label, of which `data.labelled` leaves a pool: they learn from what is predicted."""

from __future__ import annotations

from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import Count, Fraction, NonNegative
from dlreg.passes import frozen_statistics
from dlreg.reg.adversarial import Smooth


class OnPool(Smooth):
    """A cost of strength `alpha` on `unlabelled` samples of the pool, drawn anew in every update.

    Their pass is one of training beside that of the batch: with its dropout, normalized by itself, and without a trace in
    running moments. Augmentations act on the batch alone.
    """

    def __init__(self, *, alpha: NonNegative, unlabelled: Count) -> None:
        self.alpha, self.unlabelled = alpha, unlabelled

    def setup(self, model: nn.Module) -> nn.Module:
        """Refuse data that all have a label."""
        if self.context.pool is None:
            raise UserError(f"reg={self.name} learns from samples without a label: give data.labelled=100, for example")
        return super().setup(model)

    def remark(self) -> str | None:
        """When it adds nothing."""
        return None if self.alpha else f"{self.name} has alpha 0"

    @property
    def strength(self) -> float:
        """At this moment of training."""
        return self.alpha

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the samples that this update sees, however often it asks for the loss."""
        self.beside = self.draw(self.unlabelled) if self.strength else None
        return x, y

    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, logits: Tensor) -> Tensor | float:
        """The strength times the mean cost."""
        if self.beside is None:
            return 0.0
        with self.context.aside(), frozen_statistics(model):
            outputs = model(self.beside).to(logits.dtype)
        return self.strength * self.cost(outputs)

    def cost(self, logits: Tensor) -> Tensor:
        """The mean over samples of what is to be small."""
        raise NotImplementedError


class EntropyMinimization(OnPool):
    """$$loss + alpha mean_u H(p(x_u)); H(p) = - sum_k p_k log p_k$$: decisions are to be sure where there is no label.

    Grandvalet & Bengio (2005), eq. 6, https://papers.nips.cc/paper/2740-semi-supervised-learning-by-entropy-minimization.
    """

    def cost(self, logits: Tensor) -> Tensor:
        """The mean entropy."""
        return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


class PseudoLabel(OnPool):
    """$$loss + alpha(t) mean_u J(x_u, k_u)$$, the class $k_u = argmax p(x_u)$ predicted now and taken for the label.

    Lee (2013), eq. 15 and 16, Pseudo-label, ICML workshop on challenges in representation learning,
    https://www.kaggle.com/blobs/download/forum-message-attachment-files/746/pseudo_label_final.pdf. The strength is 0
    before the fraction `start` of training, rises linearly, and is alpha from the fraction `full` on; labels are predicted
    anew in every update. J is the loss that is trained (the paper's: `loss=bce`). `threshold` > 0 leaves samples out whose
    largest probability is below it, which the paper does not; the mean is over all that are drawn.
    """

    def __init__(
        self, *, alpha: NonNegative, unlabelled: Count, start: Fraction, full: Fraction, threshold: Fraction
    ) -> None:
        super().__init__(alpha=alpha, unlabelled=unlabelled)
        self.start, self.full, self.threshold = start, full, threshold

    @property
    def needs_softmax(self) -> bool:
        """To tell what is sure."""
        return self.threshold > 0

    @property
    def strength(self) -> float:
        """alpha(t)."""
        if self.full <= self.start:
            return self.alpha * (self.context.progress.fraction >= self.start)
        risen = (self.context.progress.fraction - self.start) / (self.full - self.start)
        return self.alpha * min(max(risen, 0.0), 1.0)

    def cost(self, logits: Tensor) -> Tensor:
        """The loss of the predicted classes, of which those that are not sure enough count 0."""
        label = logits.argmax(1)
        losses = self.context.criterion(logits, label, reduction="none")
        if self.threshold:
            losses = losses * (logits.detach().softmax(1).amax(1) >= self.threshold)
        return losses.mean()
