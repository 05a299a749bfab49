"""Autoencoders: hidden layers that learn to keep what it takes to make the input again."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dlreg.errors import UserError
from dlreg.hyper import DropProb, Natural
from dlreg.model.blocks import WEIGHT_LAYERS, activations
from dlreg.passes import as_it_predicts
from dlreg.pretrain.base import Rate, Stage, Unsupervised, hidden_layers, other_head, width_of
from dlreg.reg.base import Regularizer


class Masked(Regularizer):
    """The targets are what `front` makes of the samples; the inputs are these, or the samples, partly set to 0."""

    stream = "pretrain"

    def __init__(self, front: nn.Module, corruption: float, features: bool) -> None:
        self.front, self.corruption, self.features = front, corruption, features

    @torch.no_grad()
    def batch(self, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Samples `(N, ...)` -> inputs, targets `(N, D)`."""
        with as_it_predicts(self.front):
            y = self.front(x).flatten(1)
        x = y if self.features else x
        if self.corruption:
            kept = torch.rand(x.shape, device=x.device, generator=self.generator) >= self.corruption
            x = x * kept
        return x, y


class Autoencoder(Unsupervised):
    """$$min mean ||x - g(f(x))||^2$$ over the hidden layers f and a decoder g, which is left afterwards.

    Hinton & Salakhutdinov (2006), https://doi.org/10.1126/science.1127647, without their layerwise start. x is the input as
    the network sees it, normalized; the decoder mirrors the fully connected hidden layers, has the same activations and ends
    linearly. All samples take part, those without a label too.
    """

    corruption = 0.0
    word = "autoencoder"

    def stages(self, model: nn.Module, x: Tensor) -> Iterator[Stage]:
        """One: the whole network with the decoder for a head."""
        inputs, net = model.get_submodule("input"), model.get_submodule("net")
        hidden_layers(net, self.word)
        size = width_of(inputs, x)
        with other_head(net, nn.Identity()), as_it_predicts(model):
            code = width_of(model, x)
        decoder = mirrored(net, code, size).to(x.device)
        with other_head(net, decoder):
            yield Stage(model, Masked(inputs, self.corruption, features=False), "values", size)


class Denoising(Autoencoder):
    """$$min mean ||x - g(f(x'))||^2$$, x' being x with each pixel set to 0 with probability `corruption`, drawn anew each time.

    Vincent, Larochelle, Lajoie, Bengio, Manzagol (2010), section 3.3, https://jmlr.org/papers/v11/vincent10a.html (masking
    noise, squared error). Pixels are set to 0 before the normalization. f and g as in `pretrain=autoencoder`.
    """

    word = "denoising"

    def __init__(self, *, epochs: Natural, lr: Rate, corruption: DropProb) -> None:
        super().__init__(epochs=epochs, lr=lr)
        self.corruption = corruption


class Layerwise(Unsupervised):
    """$$min mean ||h_l - g_l(f_l(h_l'))||^2$$ for the hidden layers $f_l$ in turn, $h_l$ being the output of those before.

    Bengio, Lamblin, Popovici, Larochelle (2007), section 3,
    https://papers.nips.cc/paper/3048-greedy-layer-wise-training-of-deep-networks; with `corruption` > 0, the probability with
    which an entry of $h_l'$ is 0, stacked denoising autoencoders: Vincent et al. (2010), section 3.5,
    https://jmlr.org/papers/v11/vincent10a.html. The decoders $g_l$ are linear. The first $h_l$ is the normalized input. For
    networks of fully connected layers; layers that were trained stay as they are until the labels come.
    """

    def __init__(self, *, epochs: Natural, lr: Rate, corruption: DropProb) -> None:
        super().__init__(epochs=epochs, lr=lr)
        self.corruption = corruption

    def stages(self, model: nn.Module, x: Tensor) -> Iterator[Stage]:
        """One for each hidden layer with what follows it."""
        net = model.get_submodule("net")
        if not all(isinstance(layer, nn.Linear) for layer in hidden_layers(net, "layerwise")):
            raise UserError("pretrain=layerwise takes fully connected layers one by one: model=mlp or maxout")
        first, *blocks = layer_blocks(list(net.get_submodule("layers").children()))
        front = nn.Sequential(model.get_submodule("input"), *first)
        for block in blocks[:-1]:  # the last one is the head
            layers = nn.Sequential(*block)
            with as_it_predicts(front), as_it_predicts(layers), torch.no_grad():
                h = front(x)
                decoder = nn.Linear(width_of(layers, h), h.shape[1], dtype=h.dtype).to(x.device)
            yield Stage(
                nn.Sequential(layers, decoder), Masked(front, self.corruption, features=True), "values", h.shape[1]
            )
            front = nn.Sequential(*front, *block)


def mirrored(net: nn.Module, code: int, size: int) -> nn.Module:
    """The decoder `(N, code) -> (N, size)`: the widths of the fully connected hidden layers backwards."""
    layers = hidden_layers(net, "autoencoder")
    widths = [code, *(layer.in_features for layer in reversed(layers) if isinstance(layer, nn.Linear))]
    widths = [*widths[: -1 if len(widths) > 1 and widths[-1] == size else None], size]
    dtype, found = layers[0].weight.dtype, activations(net)
    between = type(found[0]) if found else nn.ReLU
    parts: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        parts += [nn.Linear(n_in, n_out, dtype=dtype), between().to(dtype)]
    return nn.Sequential(*parts[:-1])


def layer_blocks(modules: list[nn.Module]) -> list[list[nn.Module]]:
    """What comes before the first weight layer, then each weight layer with what follows it."""
    blocks: list[list[nn.Module]] = [[]]
    for module in modules:
        if any(isinstance(part, WEIGHT_LAYERS) for part in module.modules()):
            blocks.append([])
        blocks[-1].append(module)
    return blocks
