"""Normalization of activations."""

from __future__ import annotations

from typing import Any

from torch import nn

from dlreg.errors import UserError
from dlreg.hyper import Count, Fraction, Positive


def none(layer: nn.Module) -> nn.Module:
    """No normalization, $$y = x$$: the layer itself."""
    return layer


def batch(layer: nn.Module, *, eps: Positive, momentum: Fraction, scale: bool) -> nn.Module:
    """Batch normalization: $$gamma (x - E[x]) / sqrt(Var[x] + eps) + beta$$, moments over the batch (and positions).

    Ioffe & Szegedy (2015), Algorithm 1, https://arxiv.org/abs/1502.03167. In evaluation the running moments are used:
    $running <- (1 - momentum) running + momentum batch$, torch's meaning of momentum; the running variance is the unbiased
    one. `scale=false` leaves out gamma, which a rectifier before the next layer makes redundant.
    """
    kind = nn.BatchNorm2d if _is_image(layer) else nn.BatchNorm1d
    norm = kind(_features(layer), eps=eps, momentum=momentum)
    if not scale:
        norm.register_parameter("weight", None)
    return nn.Sequential(_without_bias(layer), norm)


def layer(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Layer normalization: $$gamma (x - E[x]) / sqrt(Var[x] + eps) + beta$$, moments over all features of one
    sample (for images: channels and positions).

    Ba, Kiros, Hinton (2016), eq. 3, https://arxiv.org/abs/1607.06450. Gain and bias are one per feature, for images one
    per channel.
    """
    features = _features(layer)
    if _is_image(layer):  # one group over all channels, without having to know the image's size
        return nn.Sequential(_without_bias(layer), nn.GroupNorm(1, features, eps=eps))
    _check_several(features, "layer")
    return nn.Sequential(_without_bias(layer), nn.LayerNorm(features, eps=eps))


def group(layer: nn.Module, *, groups: Count, eps: Positive) -> nn.Module:
    """Group normalization: $$gamma (x - E[x]) / sqrt(Var[x] + eps) + beta$$, moments over each group of channels of one sample.

    Wu & He (2018), eq. 7, https://arxiv.org/abs/1803.08494. The number of groups is the largest divisor of the channels
    that is not above `groups`; in a fully connected layer, which the paper leaves open, a group keeps at least 4 units,
    because the values of 2 would be nothing but their order.
    """
    features, least = _features(layer), 1 if _is_image(layer) else 4
    if not _is_image(layer):
        _check_several(features, "group")
    most = max(1, min(groups, features // least))
    parts = max(n for n in range(1, most + 1) if features % n == 0)
    return nn.Sequential(_without_bias(layer), nn.GroupNorm(parts, features, eps=eps))


def instance(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Instance normalization: $$gamma (x - E[x]) / sqrt(Var[x] + eps) + beta$$, moments over the positions of one channel
    of one sample; linear layers are left alone.

    Ulyanov, Vedaldi, Lempitsky (2016), eq. 3, https://arxiv.org/abs/1607.08022
    """
    if not _is_image(layer):
        return layer
    return nn.Sequential(_without_bias(layer), nn.InstanceNorm2d(_features(layer), eps=eps, affine=True))


def _is_image(layer: nn.Module) -> bool:
    return hasattr(layer, "out_channels")


def _features(layer: Any) -> int:
    return layer.out_channels if _is_image(layer) else layer.out_features


def _check_several(features: int, word: str) -> None:
    if features < 2:
        raise UserError(f"norm={word} needs layers of at least 2 units: one unit minus its own mean is always 0")


def _without_bias(layer: nn.Module) -> nn.Module:
    layer.register_parameter("bias", None)
    return layer
