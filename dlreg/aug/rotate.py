"""Rotation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dlreg.aug.geometry import uniform, warp
from dlreg.hyper import NonNegative
from dlreg.reg.base import Regularizer


class Rotate(Regularizer):
    """Each image is turned about its centre by an angle from U(-degrees, degrees), bilinearly, 0 outside.

    Simard, Steinkraus, Platt (2003), section 2, https://doi.org/10.1109/ICDAR.2003.1227801
    """

    stream = "augment"

    def __init__(self, *, degrees: NonNegative) -> None:
        self.degrees = degrees

    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Turn every image by its own angle."""
        if not self.degrees:
            return x, y
        angle = uniform(x, -self.degrees, self.degrees, self.generator) * (math.pi / 180)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        return warp(x, cos, -sin, sin, cos, zero, zero), y
