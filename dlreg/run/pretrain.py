"""Pretraining as fits of their own, before the fit: the same loop, with samples for targets and a checkpoint per stage."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlreg.config.build import build
from dlreg.config.schema import Settings
from dlreg.context import Context, derive_seed
from dlreg.data.base import Data, Split
from dlreg.data.normalize import to_unit
from dlreg.data.task import Classes, Values
from dlreg.errors import UserError
from dlreg.optimizer.kernels import lean
from dlreg.pretrain.base import Pretraining, Stage
from dlreg.reg.base import Chain, History
from dlreg.run.loop import Checkpoint, Loop, Report, fit
from dlreg.run.machine import autocast
from dlreg.run.step import Parts

FEW = 2  # samples that tell shapes
Keep = Callable[[int, Parts], Checkpoint]  # stage, its parts -> where its state is kept


@dataclasses.dataclass
class Pretrainer:
    """Trains a model in place on what its input says by itself; a stage that was cut short goes on from its checkpoint."""

    settings: Settings
    data: Data
    seed: int
    report: Report
    keep: Keep
    histories: list[History] = dataclasses.field(default_factory=list)

    def __call__(self, model: nn.Module) -> None:
        """Every stage in turn. Streams are those of the stage: no draw of the fit that follows depends on them."""
        pretraining: Pretraining = build("pretrain", self.settings.pretrain)
        if not pretraining.epochs:
            return
        samples = self.data.train.x if self.data.pool is None else torch.cat([self.data.train.x, self.data.pool])
        with torch.random.fork_rng(devices=[]):
            stages = pretraining.stages(model, to_unit(samples[:FEW]))
            for number in itertools.count():
                torch.manual_seed(derive_seed(self.seed, f"pretrain/{number}"))  # for what a stage adds to the network
                if (stage := next(stages, None)) is None:
                    break
                self.histories.append(self._fit(number, stage, pretraining, samples))

    def _fit(self, number: int, stage: Stage, pretraining: Pretraining, samples: Tensor) -> History:
        settings, classes = self.settings, stage.learns == "classes"
        context = Context(derive_seed(self.seed, f"pretrain/{number}"), samples.device)
        chain = Chain({"task": stage.task})
        chain.begin("chain", context)
        parts = Parts(
            stage.module,
            self._optimizer(stage.module, pretraining.lr),
            chain,
            context,
            autocast(settings),
            F.cross_entropy if classes else F.mse_loss,
            Classes.missed if classes else Values.missed,
        )
        y = torch.zeros(len(samples), *([] if classes else [1]), dtype=torch.long if classes else self.data.dtype)
        data = dataclasses.replace(
            self.data,
            train=Split(samples, y.to(samples.device)),
            val=self.data.val[:0],
            classes=stage.outputs,
            pool=None,
        )
        size = len(samples) if settings.batch_size == "full" else min(settings.batch_size, len(samples))
        loop = Loop(pretraining.epochs, size, "shuffle", lambda progress: 1.0)
        return fit(parts, data, loop, self.report, self.keep(number, parts)).history

    def _optimizer(self, module: nn.Module, lr: float | None) -> torch.optim.Optimizer:
        node = self.settings.optimizer | ({} if lr is None else {"lr": lr})
        optimizer = build("optimizer", node)([p for p in module.parameters() if p.requires_grad])
        if hasattr(optimizer, "problem"):
            word = self.settings.pretrain["name"]
            raise UserError(
                f"optimizer={node['name']} solves for labels in one step, and pretrain={word} takes many: give none"
            )
        return lean(optimizer)

    @property
    def remarks(self) -> list[str]:
        """What each stage came to."""
        word, stages = self.settings.pretrain["name"], len(self.histories)
        return [
            f"pretrain={word}{f', layer {i + 1}' if stages > 1 else ''}: loss {rows[0]['train_loss']:.4g} in the first of "
            f"{len(rows)} epochs, {rows[-1]['train_loss']:.4g} in the last"
            for i, rows in enumerate(self.histories)
        ]
