"""The same fully connected networks in JAX, for the bench of the loop; nothing of dlreg needs JAX."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from bench_time import timed

from dlreg.config.schema import Settings
from dlreg.data.base import Data


def installed() -> bool:
    """Whether JAX is here."""
    return importlib.util.find_spec("jax") is not None


def is_written(settings: Settings) -> bool:
    """Whether what is written here is what the settings ask for."""
    return settings.model["name"] == "mlp" and settings.optimizer["name"] == "adam" and not settings.reg


def jax_loop(settings: Settings, data: Data) -> float:
    """Seconds of the epochs as one would write them for speed: an epoch is one compiled scan, on all cores."""
    import jax
    import jax.numpy as jnp

    size, lr = settings.batch_size, settings.optimizer["lr"]
    b1, b2, eps = *settings.optimizer["betas"], settings.optimizer["eps"]
    pixels, labels = (jnp.asarray(t.numpy()) for t in (data.train.x.flatten(1), data.train.y))
    widths = [pixels.shape[1], *settings.model["hidden"], data.classes]
    keys = jax.random.split(jax.random.key(0), len(widths))
    weights = [
        (jax.random.uniform(k, (a, b), minval=-1, maxval=1) / math.sqrt(a), jnp.zeros(b))
        for k, a, b in zip(keys, widths, widths[1:], strict=False)
    ]

    def loss(weights: Any, x: Any, y: Any) -> Any:
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        log_p = jax.nn.log_softmax(x @ weights[-1][0] + weights[-1][1])
        return -jnp.take_along_axis(log_p, y[:, None], 1).mean()

    def step(state: Any, index: Any) -> Any:
        weights, m, v, t = state
        value, g = jax.value_and_grad(loss)(weights, pixels[index].astype(jnp.float32) / 255 - 0.5, labels[index])
        t = t + 1
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
        rate = lr * jnp.sqrt(1 - b2**t) / (1 - b1**t)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + eps), weights, m, v)
        return (weights, m, v, t), value

    epoch = jax.jit(lambda state, order: jax.lax.scan(step, state, order))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = weights, zeros, zeros, jnp.zeros(())

    def order() -> Any:
        whole = len(labels) // size
        return jnp.asarray(torch.randperm(len(labels))[: whole * size].view(whole, size).numpy())

    jax.block_until_ready(epoch(state, order()))  # compiled before the clock starts

    def work() -> None:
        now = state
        for _ in range(settings.epochs):
            now, values = epoch(now, order())
            float(values.mean())

    return timed(work)
