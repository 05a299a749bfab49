"""Averages of the weights along training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dlreg.data.normalize import to_unit
from dlreg.hyper import Decay, Fraction
from dlreg.reg.base import History, Regularizer

BATCH = 500  # of the pass that gathers batch norm's statistics
RAW = "{}: the validation curve and best_val are those of the weights before averaging"


class EMA(Regularizer):
    """$$a_1 = w_1; a_t = d a_(t-1) + (1 - d) w_t$$ over the updates t, $d = min(decay, t / (9 + t))$; the final model has a.

    Polyak & Juditsky (1992), https://doi.org/10.1137/0330046 (the plain average); Tarvainen & Valpola (2017), eq. 1,
    https://arxiv.org/abs/1703.01780. The rise of d is TensorFlow's (`num_updates`, counting from 1 here),
    https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage: without it a short training would end with
    an average of its first weights. Running statistics of batch norm, averages already, are averaged along with the weights.
    Validation curves show the raw weights, and `best_val` holds those of its best epoch.
    """

    revision = 2

    rank = 2

    def __init__(self, *, decay: Decay) -> None:
        self.decay = decay

    def setup(self, model: nn.Module) -> nn.Module:
        """No average yet."""
        self.state.update(average={}, updates=0)
        return model

    @torch.no_grad()
    def project(self, model: nn.Module) -> None:
        """Take in the updated weights."""
        now = _floats(model)
        self.state["updates"] += 1
        decay = min(self.decay, self.state["updates"] / (9 + self.state["updates"]))
        if average := self.state["average"]:
            torch._foreach_lerp_(list(average.values()), list(now.values()), 1 - decay)
        else:
            self.state["average"] = {name: tensor.clone() for name, tensor in now.items()}

    @property
    def decides(self) -> bool:
        """The average does."""
        return bool(self.state["average"])

    def remark(self) -> str | None:
        """Which figures are not the average's."""
        return RAW.format(self.name) if self.decay else f"{self.name} averages nothing: its decay is 0"

    def finish(self, model: nn.Module) -> nn.Module:
        """The average takes the weights' place."""
        return _loaded(model, self.state["average"])


class SWA(Regularizer):
    """The final model has the mean of the weights at the ends of the epochs after the fraction `start` of training:
    $$1/n sum_i w_i$$.

    Izmailov, Podoprikhin, Garipov, Vetrov, Wilson (2018), Algorithm 1 with a cycle of one epoch,
    https://arxiv.org/abs/1803.05407. The learning rate is `schedule`'s business: constant or cyclic in the paper. Batch norm's
    statistics are gathered anew by a pass over the training set with the averaged weights. Validation curves show the raw
    weights, and `best_val` holds those of its best epoch.
    """

    revision = 2

    def __init__(self, *, start: Fraction) -> None:
        self.start = start

    def setup(self, model: nn.Module) -> nn.Module:
        """Nothing averaged yet."""
        self.state.update(average={}, epochs=0)
        return model

    def remark(self) -> str | None:
        """When training ended before its time; else which figures are not the average's."""
        if self.decides:
            return RAW.format(self.name)
        return f"{self.name} averaged nothing: training ended before its start"

    @property
    def decides(self) -> bool:
        """The mean does, if there is one."""
        return self.state["epochs"] > 0

    @torch.no_grad()
    def end_epoch(self, model: nn.Module, history: History) -> bool:
        """mean <- mean + (w - mean) / n."""
        progress = self.context.progress
        if (progress.step + 1) / progress.total_steps > self.start:
            now = _floats(model)
            self.state["epochs"] += 1
            average = self.state["average"] or {name: tensor.clone() for name, tensor in now.items()}
            torch._foreach_lerp_(list(average.values()), list(now.values()), 1 / self.state["epochs"])
            self.state["average"] = average
        return False

    def finish(self, model: nn.Module) -> nn.Module:
        """The mean takes the weights' place, with the statistics that belong to it."""
        if self.decides:
            gather_statistics(_loaded(model, self.state["average"]), self.context.samples)
        return model


@torch.no_grad()
def gather_statistics(model: nn.Module, samples: Tensor | None) -> None:
    """Set batch norm's running moments to their averages over the training set."""
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.track_running_stats]
    if not layers or samples is None:
        return
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for a cumulative average
        layer.train()
    for x in samples.split(BATCH):
        if len(x) > 1:
            model(to_unit(x))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


def _floats(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach() for name, t in model.state_dict().items() if t.is_floating_point()}


def _loaded(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    model.load_state_dict({**model.state_dict(), **tensors})
    return model
