"""Input normalization: a fixed first layer of the network, from the statistics of the training set alone.

The layer sits in the model, so augmentations and adversarial perturbations see pixels in [0, 1] whatever is chosen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHUNK = 2048  # samples per step of the statistics: bounds the memory of the float64 copies


class Affine(nn.Module):
    """x -> x * scale + shift, with `scale` and `shift` broadcast over the batch."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.float())
        self.register_buffer("shift", shift.float())

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        return torch.addcmul(self.shift, x, self.scale)


class PerImage(nn.Module):
    """x -> (x - mean) / max(sd, 1 / sqrt(n)) with the moments of the n values of each sample by itself.

    TensorFlow's per_image_standardization, https://www.tensorflow.org/api_docs/python/tf/image/per_image_standardization
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch."""
        flat = x.flatten(1)
        sd, mean = torch.std_mean(flat, 1, correction=0, keepdim=True)
        return ((flat - mean) / sd.clamp(min=flat.shape[1] ** -0.5)).view_as(x)


class Whiten(nn.Module):
    """ZCA: x -> (x - mean) V (S + eps)^(-1/2) V', with V S V' the covariance of the flattened training inputs.

    Krizhevsky (2009), Learning multiple layers of features from tiny images, appendix A,
    https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("matrix", matrix.float())

    def forward(self, x: Tensor) -> Tensor:
        """Whiten a batch, keeping its shape."""
        return ((x.flatten(1) - self.mean) @ self.matrix).view_as(x)


def to_unit(x: Tensor) -> Tensor:
    """uint8 pixels to float32 in [0, 1]; floats pass unchanged."""
    return x.float().mul_(1 / 255) if x.dtype == torch.uint8 else x


def at_least_single(outputs: Tensor) -> Tensor:
    """What a network gave in half precision as float32; float64 stays."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def channel_mean(x: Tensor) -> Tensor:
    """The mean of each channel of images `(N, C, H, W)`, as `(C, 1, 1)`; of each feature of other data."""
    return _over_positions(_moments(x)[0]).float()


def normalization(kind: str, x: Tensor) -> nn.Module:
    """The layer for `data.normalize`.

    none (pixels 0 to 255) · unit (0 to 1) · standardize (per channel, mean 0 and sd 1) · per_pixel (minus the mean
    image, over one sd per channel) · per_image (each sample by its own mean and sd) · whiten (ZCA). A constant channel
    keeps scale 1.
    """
    if kind == "per_image":
        return PerImage()
    if kind == "unit" or (kind == "none" and x.dtype != torch.uint8):
        return nn.Identity()
    if kind == "none":
        return Affine(torch.tensor(255.0), torch.tensor(0.0))
    if kind == "whiten":
        return _whiten(x)
    mean_image, mean_square = _moments(x)
    mean, square = _over_positions(mean_image), _over_positions(mean_square)
    sd = (square - mean.square()).clamp(min=0).sqrt()
    scale = torch.where(sd > 1e-6 * square.sqrt(), 1 / sd, 1.0)
    return Affine(scale, -(mean_image if kind == "per_pixel" else mean) * scale)


def _over_positions(image: Tensor) -> Tensor:
    """(C, H, W) -> (C, 1, 1): the mean over positions; features keep their shape."""
    return image.mean((1, 2), keepdim=True) if image.dim() == 3 else image


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean square over the samples, in float64, of values in [0, 1]."""
    first = torch.zeros(x.shape[1:], dtype=torch.float64)
    second = torch.zeros_like(first)
    for chunk in x.split(CHUNK):
        values = to_unit(chunk).double()  # squares of float32 would drown a small spread about a large mean
        first += values.sum(0)
        second += values.square().sum(0)
    return first / len(x), second / len(x)


def _whiten(x: Tensor, eps: float = 1e-2) -> Whiten:
    mean = _moments(x)[0].flatten()
    covariance = torch.zeros(mean.numel(), mean.numel(), dtype=torch.float64)
    for chunk in x.split(CHUNK):
        centred = to_unit(chunk).double().flatten(1) - mean
        covariance += centred.T @ centred
    values, vectors = torch.linalg.eigh(covariance / len(x))
    return Whiten(mean, vectors @ torch.diag((values.clamp(min=0) + eps).rsqrt()) @ vectors.T)
