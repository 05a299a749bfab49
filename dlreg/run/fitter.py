"""`fit(data)` for techniques that train more than once; each fit resumes from a checkpoint of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from dlreg import durable
from dlreg.config.schema import Settings
from dlreg.data.base import Data
from dlreg.reg.base import Fitted
from dlreg.run.loop import Report, fit
from dlreg.run.parts import make_loop, make_parts
from dlreg.run.provenance import fingerprint


class Fitter:
    """`fit(data)`: train one model from scratch. Calls are numbered, and each resumes from its own checkpoint."""

    def __init__(self, settings: Settings, folder: Path, report: Report) -> None:
        self.settings, self.folder, self.report = settings, folder, report
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
        parts = make_parts(self.settings, data, self.settings.seed if seed is None else seed)
        parts.context.note = note or {}
        if start is not None:
            parts.model.load_state_dict(start)
        checkpoint = CheckpointFile(self.folder / f"checkpoint-{self.calls}", self.settings)
        self.calls += 1
        self.parameters = sum(p.numel() for p in parts.model.parameters())
        loop = make_loop(self.settings, len(data.train), steps)
        try:
            fitted = fit(parts, data, loop, self.report, checkpoint)
        finally:
            self.remarks += filter(None, [checkpoint.remark])
        said = getattr(parts.optimizer, "remark", lambda batches: None)(fitted.steps_per_epoch)
        self.remarks = list(dict.fromkeys([*self.remarks, *parts.reg.remarks(), *filter(None, [said])]))
        self.seconds += sum(row["seconds"] for row in fitted.history)
        return fitted


class CheckpointFile:
    """The state of one fit in a file that says by a checksum if it was damaged."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path, self.settings = path, settings
        self.remark: str | None = None  # what became of the file that was there

    def save(self, state: dict[str, Any]) -> None:
        """Keep it, and the state before it beside it."""
        durable.write_checked(self.path, packed({"fingerprint": fingerprint(self.settings), "fit": state}))

    def load(self) -> dict[str, Any] | None:
        """The newest intact state, if there is one."""
        content = durable.read_checked(self.path)
        if content is None:
            if self.path.exists():
                self.remark = f"{self.path.name} was damaged; the fit started again"
            return None
        saved = torch.load(io.BytesIO(content), map_location=self.settings.device, weights_only=True)
        if saved["fingerprint"] != fingerprint(self.settings):
            self.remark = "continued on another machine, torch or thread count: not bit-identical to one run"
        return saved["fit"]


def packed(value: Any) -> bytes:
    """What `torch.save` makes of it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
