"""AutoAugment's policy for CIFAR-10."""

from __future__ import annotations

import torch
from torch import Tensor

from dlreg.aug import color
from dlreg.aug.base import Augmentation
from dlreg.aug.geometry import Interpolation
from dlreg.aug.policy import STANDARD, Operations

# 25 pairs of (operation, probability, magnitude from 0 to 9): Cubuk et al. (2019), table 7
POLICY = [
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
]


class AutoAugment(Augmentation):
    """Each image gets one of 25 learnt pairs of operations, $$x <- o_2(o_1(x))$$; each of the two acts with its own probability
    and magnitude.

    Cubuk, Zoph, Mane, Vasudevan, Le (2019), tables 6 and 7, https://arxiv.org/abs/1805.09501: the policy found for CIFAR-10.
    Magnitude 9 is full strength and the two directions are equally likely, as in torchvision.
    """

    def __init__(self, *, interpolation: Interpolation) -> None:
        self.operations = Operations(STANDARD, interpolation)
        index = {name: i for i, name in enumerate(self.operations.names)}
        self.table = torch.tensor([[[index[name], p, m / 9] for name, p, m in pair] for pair in POLICY])

    def transform(self, x: Tensor) -> Tensor:
        """Each image through a pair of its own."""
        color.is_grey(x)  # raises, whatever will be drawn
        chosen = self.table[torch.randint(len(POLICY), (len(x),), generator=self.host_generator)]
        acts, sign = torch.rand(2, *chosen.shape[:2], generator=self.host_generator)
        operation, p, strength = chosen.unbind(2)
        operation = torch.where(acts < p, operation, 0).long()  # 0: identity
        strength = torch.where(sign < 0.5, -strength, strength).to(x, non_blocking=True)
        for choice, own in zip(operation.unbind(1), strength.unbind(1), strict=True):
            x = self.operations(x, choice, own)
        return x
