"""`fit(data)` for techniques that train more than once; each fit resumes from a checkpoint of its own."""

from __future__ import annotations

import dataclasses
import io
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from dlreg import durable
from dlreg.config.schema import Settings
from dlreg.data.base import Data
from dlreg.log.base import Look
from dlreg.reg.base import Fitted, History
from dlreg.run.artifacts import packed
from dlreg.run.loop import Checkpoint, Nobody, Report, fit
from dlreg.run.parts import make_loop, make_parts
from dlreg.run.pretrain import Pretrainer
from dlreg.run.provenance import fingerprint
from dlreg.run.step import Parts
from dlreg.run.twin import Twin

Ask = Callable[[dict[str, Any], Look], None]  # a row of the history, and how to look into the layers after that epoch

SPACING = 1.0  # seconds of work that a kill may take away, or one epoch if that is longer


class Fitter:
    """`fit(data)`: train one model from scratch. Calls are numbered, and each resumes from its own checkpoint."""

    def __init__(self, settings: Settings, folder: Path, report: Report, ask: Ask = lambda row, look: None) -> None:
        self.settings, self.folder, self.report, self.ask = settings, folder, report, ask
        self.calls = 0
        self.seconds = 0.0
        self.remarks: list[str] = []
        self.parameters = 0

    def __call__(
        self,
        data: Data,
        *,
        seed: int | None = None,
        start: dict[str, torch.Tensor] | None = None,
        steps: int | None = None,
        note: dict[str, Any] | None = None,
    ) -> Fitted:
        """A model trained on `data`. The keyword arguments are those of `dlreg.reg.base.Fit`."""
        seed = self.settings.seed if seed is None else seed
        first = Pretrainer(self.settings, data, seed, Nobody(), self._stage)
        parts = make_parts(self.settings, data, seed, first) if start is None else make_parts(self.settings, data, seed)
        parts.context.note = note or {}
        if start is not None:
            parts.model.load_state_dict(start)
        checkpoint = CheckpointFile(self.folder / f"checkpoint-{self.calls}", self.settings, parts)
        self.calls += 1
        self.parameters = sum(p.numel() for p in parts.model.parameters())
        loop = make_loop(self.settings, len(data.train), steps)
        loop = dataclasses.replace(loop, epochs=getattr(parts.optimizer, "epochs", loop.epochs))
        report = _Numbered(self.report, self.calls, self.ask, Twin(self.settings, data, loop, parts))
        try:
            fitted = fit(parts, data, loop, report, checkpoint)
        finally:
            self.remarks += filter(None, [checkpoint.remark])
        said = getattr(parts.optimizer, "remark", lambda batches: None)(fitted.steps_per_epoch)
        self.remarks = list(dict.fromkeys([*self.remarks, *parts.reg.remarks(), *filter(None, [said])]))
        self.remarks += first.remarks
        self.seconds += sum(row["seconds"] for history in (*first.histories, fitted.history) for row in history)
        return fitted

    def _stage(self, number: int, parts: Parts) -> Checkpoint:
        return CheckpointFile(self.folder / f"checkpoint-{self.calls}-{number}", self.settings, parts)


class _Numbered:
    """A report that is told with each row of which fit it is: of a committee's models every one has a first epoch."""

    def __init__(self, report: Report, number: int, ask: Ask, twin: Twin) -> None:
        self.step, self._epoch, self.number, self.ask, self.twin = report.step, report.epoch, number, ask, twin

    def epoch(self, row: dict[str, Any]) -> None:
        """The row, and the number of the fit; then who wants to look inside may."""
        numbered = row | {"fit": self.number}
        self._epoch(numbered)
        self.ask(numbered, self.twin.layers)


def first_history(folder: Path) -> History:
    """What the checkpoint of a run's first fit says of its epochs; nothing if there is no checkpoint."""
    content = durable.intact(folder / "checkpoint-0")
    if content is None:
        return []
    saved: History = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["fit"]["history"]
    return saved


class CheckpointFile:
    """The state of one fit in a file that says by a checksum if it was damaged, and by the run's name if it was moved."""

    def __init__(self, path: Path, settings: Settings, parts: Parts) -> None:
        self.path, self.settings, self.parts = path, settings, parts
        self.remark: str | None = None  # what became of the file that was there
        self.saved = time.monotonic()

    def due(self) -> bool:
        """Whether `SPACING` seconds have passed: epochs of milliseconds are done again sooner than each is kept."""
        return time.monotonic() - self.saved >= SPACING

    def save(self, state: dict[str, Any]) -> None:
        """Keep it, and the state before it beside it."""
        content = {"run": self.path.parent.name, "fingerprint": fingerprint(self.settings), "fit": state}
        durable.write_checked(self.path, packed(content))
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is intact and of this fit, if there is one.

        What is neither is removed, so that the next save does not put it in the place of the only good one.
        """
        found = [path for path in (self.path, durable.previous(self.path)) if path.exists()]
        for path in found:
            if (saved := self._read(path)) is None:
                path.unlink()
                continue
            if saved["fingerprint"] != fingerprint(self.settings):
                self.remark = "continued on another machine, torch or thread count: not bit-identical to one run"
            return saved["fit"]
        if found:
            self.remark = f"{self.path.name} was damaged; the fit started again"
        return None

    def _read(self, path: Path) -> dict[str, Any] | None:
        content = durable.intact(path)
        if content is None:
            return None
        try:
            saved = torch.load(io.BytesIO(content), map_location=self.settings.device, weights_only=True)
            fits = saved["run"] == self.path.parent.name and _shapes(saved["fit"]) == _shapes(self._fresh())
        except (RuntimeError, KeyError, TypeError, AttributeError, ValueError, pickle.UnpicklingError):
            return None
        return saved if fits else None

    def _fresh(self) -> dict[str, Any]:
        """What a state of this fit looks like."""
        model, optimizer, reg = self.parts.model, self.parts.optimizer, self.parts.reg
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "states": reg.states}


def _shapes(state: dict[str, Any]) -> tuple[Any, ...]:
    """What must agree for a state to be taken up: the tensors of the model, the groups of the optimizer, the techniques."""
    model = {name: tensor.shape for name, tensor in state["model"].items()}
    groups = [(len(group["params"]), sorted(group)) for group in state["optimizer"]["param_groups"]]
    return model, groups, sorted(state["states"])
