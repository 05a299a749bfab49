"""What networks are made of, and the seams that techniques act on: weight layers, activations, residual blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from dlreg.errors import UserError

Activation = Literal["relu", "leaky_relu", "prelu", "tanh", "sigmoid", "gelu"]
Norm = Callable[[nn.Module], nn.Module]  # a weight layer -> the module that stands in its place, normalized

_ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}
WEIGHT_LAYERS = (nn.Linear, nn.Conv2d)
NORM_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)


def activation(name: Activation) -> nn.Module:
    """The nonlinearity of that name, as a module of its own."""
    return _ACTIVATIONS[name]()


class KeepPath(nn.Module):
    """The branch as it is."""

    def forward(self, branch: nn.Module, x: Tensor) -> Tensor:
        """branch(x)."""
        return branch(x)


class Residual(nn.Module):
    """y = f(shortcut(x) + drop_path(branch, x)). `drop_path` is the seam for stochastic depth, which may skip the branch.

    He, Zhang, Ren, Sun (2016), eq. 1 and 2, https://arxiv.org/abs/1512.03385
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.after = branch, shortcut, after
        self.drop_path: nn.Module = KeepPath()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self.after(self.shortcut(x) + self.drop_path(self.branch, x))


class Size(NamedTuple):
    """Of a residual block: the channels it takes and gives, and its stride."""

    n_in: int
    n_out: int
    stride: int


def three_stages(n_in: int, width: int, blocks: int) -> Iterator[Size]:
    """The blocks of a residual network for CIFAR: three stages of w, 2w and 4w channels, the image halved between them."""
    for stage in range(3):
        for block in range(blocks):
            size = Size(n_in, width * 2**stage, 2 if stage and not block else 1)
            yield size
            n_in = size.n_out


class Through(nn.Identity):
    """Stands for a layer where activations are normalized that no layer has just made: norm(Through(channels))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels


def bare(layer: nn.Conv2d, norm: Norm) -> nn.Module:
    """A layer that activations are not normalized after. A norm that leaves places alone acts on weights, and on these too."""
    place = Through(layer.out_channels)
    return norm(layer) if norm(place) is place else layer


def shortcut_layers(model: nn.Module) -> set[nn.Module]:
    """The modules beside the branches of residual blocks."""
    return {m for block in model.modules() if isinstance(block, Residual) for m in block.shortcut.modules()}


def channels_last(x: Tensor) -> Tensor:
    """The same images with the channels of a pixel side by side in memory; what follows keeps that layout.

    Convolutions, pooling and batch normalization run faster so: a training step of LeNet or a residual network takes a fifth
    to two fifths less time on a CPU. Weights and their gradients keep the usual layout.
    """
    return x.to(memory_format=torch.channels_last)  # `contiguous` would leave grey images, which lie both ways at once


def image_shape(shape: tuple[int, ...], model: str, least: int) -> tuple[int, int, int]:
    """The shape of a sample, if it is an image of at least `least` x `least` pixels."""
    if len(shape) != 3 or min(shape[1:]) < least:
        raise UserError(
            f"model={model} needs images of at least {least} x {least} pixels; this data has the shape {shape}"
        )
    return shape[0], shape[1], shape[2]


def weight_layers(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """Every linear and convolutional layer, in the order of the forward pass of a plain stack."""
    return [module for module in model.modules() if isinstance(module, WEIGHT_LAYERS)]


def activations(model: nn.Module) -> list[nn.Module]:
    """Every nonlinearity of `activation`, in the order of the forward pass of a plain stack."""
    return [module for module in model.modules() if isinstance(module, tuple(_ACTIVATIONS.values()))]


def plain_name(parameter: str) -> str:
    """`net.layers.1.parametrizations.weight.original` -> `layers.1.weight`: a parameter's name for the user."""
    name = parameter.removeprefix("net.").replace(".parametrizations.", ".")
    return name.split(".original")[0]


def layer_name(parameter: str) -> str:
    """The name of the layer that a parameter belongs to, `layers.1` above."""
    return plain_name(parameter).rpartition(".")[0]


class Acting(NamedTuple):
    """A tensor that the forward pass works with: a parameter, or what a parametrization makes of several.

    `parameter` is the one that the tensor is proportional to: the lengths under weight normalization, else the weight
    under noise and gates.
    """

    name: str
    parameter: nn.Parameter
    parametrization: Any  # torch's ParametrizationList, or None

    @property
    def value(self) -> Tensor:
        """The tensor as evaluation uses it, without noise; differentiable."""
        if self.parametrization is None:
            return self.parameter
        training = self.parametrization.training
        try:
            return self.parametrization.eval()()
        finally:
            self.parametrization.train(training)

    @property
    def elementwise(self) -> bool:
        """Whether each entry has an entry of the parameter of its own."""
        return self.parametrization is None or hasattr(self.parametrization, "original")

    @property
    def shape(self) -> torch.Size:
        """Of `value`."""
        return (self.parameter if self.elementwise else self.parametrization.original1).shape


def acting(model: nn.Module) -> list[Acting]:
    """Every trainable tensor of the forward pass, biases and normalization parameters too; gates and directions are none."""
    found = []
    for name, p in model.named_parameters():
        owner, _, last = name.rpartition(".")
        if ".parametrizations." not in f".{name}":
            found.append(Acting(name, p, None))
        elif last in ("original", "original0"):
            found.append(Acting(name, p, model.get_submodule(owner)))
    return [tensor for tensor in found if tensor.parameter.requires_grad]


def weights(model: nn.Module) -> list[Acting]:
    """Every trainable weight that acts: biases and normalization parameters have one dimension and are left out."""
    return [tensor for tensor in acting(model) if len(tensor.shape) > 1]
