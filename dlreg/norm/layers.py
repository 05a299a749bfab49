"""Normalization of activations."""

from __future__ import annotations

import math

from torch import nn

from dlreg.hyper import Count, Fraction, Positive


def none(layer: nn.Module) -> nn.Module:
    """No normalization: the layer itself."""
    return layer


def batch(layer: nn.Module, *, eps: Positive, momentum: Fraction) -> nn.Module:
    """Batch normalization: gamma (x - E[x]) / sqrt(Var[x] + eps) + beta, moments over the batch (and positions).

    Ioffe & Szegedy (2015), Algorithm 1, https://arxiv.org/abs/1502.03167. In evaluation the running moments are used:
    running <- (1 - momentum) running + momentum batch, torch's meaning of momentum.
    """
    kind = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d
    return nn.Sequential(_without_bias(layer), kind(_features(layer), eps=eps, momentum=momentum))


def layer(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Layer normalization: moments over all features of one sample (for images: channels and positions).

    Ba, Kiros, Hinton (2016), eq. 3, https://arxiv.org/abs/1607.06450
    """
    # One group over all channels is layer normalization, without having to know the image's size.
    norm = nn.GroupNorm(1, _features(layer), eps=eps) if isinstance(layer, nn.Conv2d) else None
    return nn.Sequential(_without_bias(layer), norm or nn.LayerNorm(_features(layer), eps=eps))


def group(layer: nn.Module, *, groups: Count, eps: Positive) -> nn.Module:
    """Group normalization: moments over each group of channels of one sample.

    Wu & He (2018), eq. 7, https://arxiv.org/abs/1803.08494. Where `groups` does not divide the channels, their greatest
    common divisor is used.
    """
    features = _features(layer)
    return nn.Sequential(_without_bias(layer), nn.GroupNorm(math.gcd(groups, features), features, eps=eps))


def instance(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Instance normalization: moments over the positions of one channel of one sample; linear layers are left alone.

    Ulyanov, Vedaldi, Lempitsky (2016), eq. 3, https://arxiv.org/abs/1607.08022
    """
    if not isinstance(layer, nn.Conv2d):
        return layer
    return nn.Sequential(_without_bias(layer), nn.InstanceNorm2d(_features(layer), eps=eps, affine=True))


def _features(layer: nn.Module) -> int:
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


def _without_bias(layer: nn.Module) -> nn.Module:
    layer.register_parameter("bias", None)
    return layer
