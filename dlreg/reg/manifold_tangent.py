"""Tangent propagation along directions that an autoencoder finds in the data."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.hyper import Count, NonNegative, Positive
from dlreg.reg.tangent_prop import Invariance

BATCH = 100


class Encoder(NamedTuple):
    """$h = sigmoid(W x + b)$ of flattened samples x."""

    weight: Tensor  # (H, D)
    bias: Tensor  # (H,)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, D) -> h `(N, H)`."""
        return F.linear(x, self.weight, self.bias).sigmoid()

    def contraction(self, h: Tensor) -> Tensor:
        """$||dh / dx||_F^2 = sum_j (h_j (1 - h_j))^2 sum_i W_ji^2$ of every sample: Rifai, Vincent et al. (2011), eq. 5."""
        return (h * (1 - h)).square() @ self.weight.square().sum(1)

    def tangents(self, x: Tensor, most: int) -> Tensor:
        """(N, D) -> the leading right singular vectors of dh / dx, `(most, N, D)`, of length 1, or 0 where there is no more.

        They come from the eigenvectors v of $J J' = diag(s) W W' diag(s)$, $s = h (1 - h)$, as J' v / |J' v|.
        """
        h = self(x)
        s = h * (1 - h)
        values, vectors = torch.linalg.eigh(s.unsqueeze(2) * (self.weight @ self.weight.T) * s.unsqueeze(1))
        there = values > 100 * torch.finfo(s.dtype).eps * values[:, -1:]
        leading = (s.unsqueeze(2) * vectors * there.unsqueeze(1))[..., -most:].flip(2)
        return F.normalize(leading.mT @ self.weight, dim=2).transpose(0, 1)


class ManifoldTangent(Invariance):
    """$$loss + alpha mean_x sum_k ||J(x) t_k(x)||^2$$ with the leading singular vectors $t_k(x)$ of an autoencoder's Jacobian.

    The manifold tangent classifier: Rifai, Dauphin, Vincent, Bengio, Muller (2011), eq. 8 and 9,
    https://papers.nips.cc/paper/4409-the-manifold-tangent-classifier. Before the first step a contractive autoencoder (Rifai,
    Vincent, Muller, Glorot, Bengio 2011, https://icml.cc/2011/papers/455_icmlpaper.pdf) of `hidden` sigmoid units with
    tied weights learns $$min mean ||x - W' h - c||^2 + contraction ||dh / dx||_F^2; h = sigmoid(W x + b)$$ on all samples,
    those without a label too: `epochs` of Adam at the rate `lr`, in batches of 100. At every sample of a batch, `tangents`
    right singular vectors of dh/dx, each of length 1, then take the place of those of `reg=tangent_prop`; nothing must be
    known of images. The paper stacks autoencoders that end in the classifier itself; here they are two networks, and the
    autoencoder, whose decoder is linear, has one layer. A step costs a pass for every tangent and the eigenvectors of a
    matrix of `hidden` x `hidden` for every sample.
    """

    def __init__(
        self,
        *,
        alpha: NonNegative,
        tangents: Count,
        hidden: Count,
        contraction: NonNegative,
        epochs: Count,
        lr: Positive,
    ) -> None:
        self.alpha, self.tangents, self.hidden = alpha, tangents, hidden
        self.contraction, self.epochs, self.lr = contraction, epochs, lr

    def setup(self, model: nn.Module) -> nn.Module:
        """Refuse more directions than there are."""
        samples = self.context.samples
        assert samples is not None
        most = min(self.hidden, samples[0].numel())
        if self.tangents > most:
            raise UserError(
                f"reg.{self.name}.tangents={self.tangents} are more than {self.hidden} hidden units have of samples of "
                f"{samples[0].numel()} numbers; at most {most}"
            )
        return model

    def remark(self) -> str | None:
        """When it adds nothing; else how well the autoencoder knows the data."""
        if not self.alpha:
            return f"{self.name} has alpha 0"
        return f"{self.name}: the autoencoder reconstructs {1 - self.state['lost']:.1%} of the samples' variance"

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Before the first step of a fit, train the autoencoder. A fit that is continued finds it in its state."""
        if self.alpha and "weight" not in self.state:
            samples = [t for t in (self.context.samples, self.context.pool) if t is not None]
            self.learn(to_unit(torch.cat([t[:BATCH] for t in samples] if self.context.rehearsal else samples)))
        return x, y

    def along(self, x: Tensor) -> Tensor:
        """The singular vectors."""
        encoder = Encoder(self.state["weight"], self.state["bias"])
        return encoder.tangents(x.flatten(1), self.tangents).unflatten(2, x.shape[1:])

    @torch.enable_grad()
    def learn(self, samples: Tensor) -> None:
        """Train the autoencoder on samples in [0, 1]."""
        x = samples.flatten(1)
        limit = (6 / (self.hidden + x.shape[1])) ** 0.5
        weight = x.new_empty(self.hidden, x.shape[1]).uniform_(-limit, limit, generator=self.generator)
        params = [weight, x.new_zeros(self.hidden), x.mean(0)]
        optimizer = torch.optim.Adam([p.requires_grad_() for p in params], lr=self.lr)
        encoder, decoder_bias = Encoder(*params[:2]), params[2]
        variance = (x - x.mean(0)).square().sum(1).mean()
        for _ in range(1 if self.context.rehearsal else self.epochs):
            lost = x.new_zeros(())
            for index in torch.randperm(len(x), device=x.device, generator=self.generator).split(BATCH):
                h = encoder(x[index])
                missed = (x[index] - h @ encoder.weight - decoder_bias).square().sum(1)
                optimizer.zero_grad()
                (missed.mean() + self.contraction * encoder.contraction(h).mean()).backward()
                optimizer.step()
                lost += missed.detach().sum()
        self.state |= {"weight": encoder.weight.detach(), "bias": encoder.bias.detach()}
        self.state["lost"] = float(lost / len(x) / variance.clamp_min(torch.finfo(x.dtype).tiny))
