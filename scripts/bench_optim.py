"""A step of each of dlreg's own optimizers against one of torch's foreach Adam."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

import torch
from bench_loop import fake_mnist
from bench_time import timed

from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.context import Context
from dlreg.reg.base import Chain
from dlreg.run.loop import Parts, train_step

OWN = (
    ("adam", "bias_correction=false"),
    ("amsgrad", "bias_correction=false"),
    ("momentum", "form=lecture"),
    ("nesterov", "form=lecture"),
    ("adagrad", "form=lecture"),
    ("rmsprop", "form=lecture"),
    ("lion",),
    ("muon",),
    ("sam",),
    ("svrg",),
    ("adahessian",),
    ("random_search", "trials=1"),
    ("annealing", "trials=1"),
    ("evolution", "pairs=1"),
)

SEVERAL_PASSES = ("sam", "svrg", "adahessian", "random_search", "annealing", "evolution")


def optim(rounds: int, steps: int = 10) -> None:
    """784-256-256-10, batch 128, one CPU thread: a training step, and the update alone with the gradients at hand."""
    torch.set_num_threads(1)
    data = fake_mnist(1000).train
    x, y = data.x[:128].float() / 255, torch.eye(10)[data.y[:128]]

    def prepared(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> tuple[Callable, Callable]:
        torch.manual_seed(0)
        layers = [torch.nn.Flatten(), *(f for a, b in ((784, 256), (256, 256)) for f in linear_relu(a, b))]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(256, 10))
        optimizer = make(list(model.parameters()))
        made = Parts(model, optimizer, Chain({}), Context(0, torch.device("cpu")))
        train_step(made, x, y)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        return (
            lambda: [optimizer.step() for _ in range(steps)],
            lambda: [train_step(made, x, y) for _ in range(steps)],
        )

    adam_update, adam_step = prepared(functools.partial(torch.optim.Adam, lr=1e-3, foreach=True))
    for name, *keys in OWN:
        node = compose([f"optimizer={name}", *(f"optimizer.{key}" for key in keys)]).optimizer
        update, step = prepared(build("optimizer", node))
        alone = "" if name in SEVERAL_PASSES else f"update alone {ratio(update, adam_update, rounds)}   "
        print(f"{' '.join([name, *keys]):32} training step {ratio(step, adam_step, rounds)}   {alone}".rstrip())


def linear_relu(inputs: int, outputs: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    return torch.nn.Linear(inputs, outputs), torch.nn.ReLU()


def ratio(work: Callable[[], object], reference: Callable[[], object], rounds: int) -> str:
    """The median ratio of processor times taken in turns: they suffer less than the clock's from other jobs."""
    ratios = [timed(work, time.process_time) / timed(reference, time.process_time) for _ in range(rounds)]
    return f"{statistics.median(ratios):5.2f} (from {min(ratios):.2f} to {max(ratios):.2f})"
