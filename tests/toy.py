"""Small problems with known answers, trained by the real loop in float64."""

import contextlib

import torch
from conftest import Silent
from torch import nn

from dlreg.context import Context
from dlreg.data.base import Data, SealedTest, Split
from dlreg.optimizer.stride import strides
from dlreg.reg.base import Chain
from dlreg.run.loop import Loop, Parts, fit

CPU = torch.device("cpu")


def half_squared(z, y):
    """Half the squared error, summed over outputs, averaged over samples."""
    return (z - y).square().sum(1).mean() / 2


def regression(n=60, features=4, classes=3, seed=0, isotropic=None):
    """Float64 features; the one-hot labels are what the squared loss regresses on. `isotropic`: X'X/n = that times I."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (n,), generator=generator)
    if isotropic:
        x = torch.linalg.qr(x - x.mean(0)).Q * (n * isotropic) ** 0.5
    return data_of(x, y, classes)


def data_of(x, y, classes, val=0):
    n = len(y) - val
    train, held = Split(x[:n], y[:n]), Split(x[n:], y[n:])
    return Data(train, held, SealedTest(train), classes, torch.zeros(()), nn.Identity())


class Memory:
    """A checkpoint that starts with `saved` and tells `save` what it is given."""

    def __init__(self, saved=None, save=lambda state: None):
        self.saved, self.save = saved, save

    def due(self):
        return True

    def load(self):
        return self.saved


@contextlib.contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def train(parts, data, model, *, lr=0.1, epochs=100, batch=None, criterion=half_squared, optimizer=None, seed=0):
    """Full-batch gradient descent through `dlreg.run.loop.fit`, unless told otherwise. Returns the final model."""
    with float64():
        context, reg = Context(seed, CPU), Chain(parts)
        reg.begin("chain", context)
        model = reg.setup(model)
        optimizer = optimizer(model.parameters()) if optimizer else torch.optim.SGD(model.parameters(), lr=lr)
        context.strides = strides(optimizer)
        loop = Loop(epochs, batch or len(data.train), "shuffle", lambda progress: 1.0)
        return fit(Parts(model, optimizer, reg, context, criterion=criterion), data, loop, Silent(), Memory()).last


def linear(features=4, outputs=3, bias=True, zero=True):
    torch.manual_seed(0)
    layer = nn.Linear(features, outputs, bias=bias, dtype=torch.float64)
    if zero:
        nn.init.zeros_(layer.weight)
    return layer


def begun(part, name="part", seed=0, model=None):
    """A technique that has begun; set up on `model` if given."""
    context = Context(seed, CPU)
    context.begin_epoch(0)
    part.begin(name, context)
    if model is not None:
        part.setup(model)
    return part
