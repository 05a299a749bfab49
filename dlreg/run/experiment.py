"""One experiment, start to end: settings -> parts -> fit -> one look at the test set -> Result."""

from __future__ import annotations

import functools
import io
import math
import os
import shutil
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock
import torch

from dlreg import durable
from dlreg.config.schema import Settings
from dlreg.context import Context, Progress
from dlreg.data.base import Data
from dlreg.data.normalize import to_unit
from dlreg.errors import Diverged, Interrupted, UserError
from dlreg.model.blocks import NORM_LAYERS
from dlreg.reg.base import Fitted, Regularizer
from dlreg.run.evaluate import evaluate
from dlreg.run.loop import Loop, Report, fit, train_step
from dlreg.run.parts import autocast, idle_norm, load, make_chain, make_data, make_parts, make_schedule, resolve
from dlreg.run.provenance import fingerprint, git_state, versions
from dlreg.run.result import FINAL, Result, read, run_id


class Busy(Exception):
    """Another process has this run in hand."""


def run(settings: Settings, report: Report) -> Result:
    """Run the experiment, or return its result if it is there already; continue it if it was cut short.

    A failure or a divergence is a Result too. What the user must mend is refused before anything is written.

    Raises:
        UserError: bad input. Busy: another process runs it. Interrupted, KeyboardInterrupt: asked to stop; resumable.
    """
    settings = resolve(settings)
    config = settings.model_dump()
    folder = folder_of(settings)
    if not settings.rerun and (finished := finished_result(folder)):
        return finished
    if settings.threads != "auto":
        torch.set_num_threads(settings.threads)
    data = make_data(settings, load(settings.data), settings.seed)
    rehearse(settings, data)
    with claim(folder):
        durable.tidy(folder)
        if settings.rerun:
            _clear(folder)
        elif finished := finished_result(folder):  # another process finished it while this one got ready
            return finished
        durable.write_json(folder / "config.json", config)
        result = _run(settings, config, folder, data, report)
        result.write(folder)
    return result


def folder_of(settings: Settings) -> Path:
    """The folder of this experiment's run: the same settings, the same folder."""
    return Path(settings.outputs) / run_id(resolve(settings).model_dump())


def result_of(settings: Settings) -> Result:
    """What there is of this experiment: its result, or an `interrupted` one in its place."""
    folder = folder_of(settings)
    try:
        found = read(folder)
    except ValueError as error:
        found, why = None, str(error)
    else:
        why = "no result yet"
    return found or Result(folder.name, "interrupted", resolve(settings).model_dump(), message=why)


def finished_result(folder: Path) -> Result | None:
    """The result in `folder` if it is there, readable and final."""
    try:
        result = read(folder)
    except ValueError:
        return None
    return result if result and result.status in FINAL else None


def rehearse(settings: Settings, data: Data) -> None:
    """Build everything and make one update on two samples, then throw it away: what cannot work is found here.

    Raises:
        UserError: naming what does not fit together.
    """
    few = torch.arange(min(2, len(data.train)))
    try:
        context, model, optimizer, reg = make_parts(settings, data, settings.seed)
        if settings.batch_size == 1 and any(isinstance(m, NORM_LAYERS[:2]) for m in model.modules()):
            raise UserError("batch_size=1 does not work with norm=batch: a batch of one has no variance")
        blind = [p.name for p in reg.parts.values() if p.needs_validation and not len(data.val)]
        if blind:
            raise UserError(f"{blind[0]} chooses by the validation set, but data.val_size=0 leaves none")
        _check_order(list(reg.parts.values()))
        make_schedule(settings)(Progress(0, 1, 1, () if len(data.val) else None))
        if getattr(optimizer, "full_batch", False):
            _needs_full_batch(settings, len(data.train))
        context.begin_epoch(0)
        model.train()
        sample = data.train[few.to(context.device)]
        x, y = to_unit(sample.x), torch.eye(data.classes, device=context.device)[sample.y]
        train_step(model, optimizer, reg, x, y, autocast(settings))
        evaluate(model, sample)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        if os.environ.get("DLREG_DEBUG"):
            raise
        first = str(error).strip().split("\n")[0]
        raise UserError(
            f"these options do not work together: {first} (a sample has the shape {data.shape}; DLREG_DEBUG=1 shows where)"
        ) from error


def _check_order(parts: Sequence[Regularizer]) -> None:
    for i, part in enumerate(parts):
        inner = next((p.name for p in parts[i + 1 :] if p.makes_committee), None)
        if part.goes_on and inner:
            raise UserError(
                f"reg=[{part.name},{inner}] would train on from the weights of several models; list {part.name} after {inner}"
            )


def _needs_full_batch(settings: Settings, n: int) -> None:
    name = settings.optimizer["name"]
    why = f"optimizer={name} needs the same loss in every step, that of the whole training set"
    if settings.batch_size != "full" and settings.batch_size < n:
        raise UserError(f"batch_size={settings.batch_size} does not work: {why}; give batch_size=full")
    if settings.sampler in ("random", "balanced"):
        raise UserError(f"sampler={settings.sampler} draws with replacement: {why}; give sampler=shuffle or cyclic")


def claim(folder: Path) -> AbstractContextManager[Any]:
    """Make the run folder ours until we leave it; the lock dies with its process.

    Raises:
        Busy: another process holds it. UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(folder / ".lock").acquire(blocking=False)
    except filelock.Timeout:
        raise Busy(f"{folder} is in use: another process runs this very experiment") from None
    except OSError as error:
        raise UserError(f"outputs={folder.parent} cannot be written: {error.strerror or error}") from None


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
        settings = self.settings
        context, model, optimizer, reg = make_parts(settings, data, settings.seed if seed is None else seed)
        context.note = note or {}
        if start is not None:
            model.load_state_dict(start)
        checkpoint = self.folder / f"checkpoint-{self.calls}"
        self.calls += 1
        self.parameters = sum(p.numel() for p in model.parameters())
        size = len(data.train) if settings.batch_size == "full" else min(settings.batch_size, len(data.train))
        loop = Loop(settings.epochs, size, settings.sampler, make_schedule(settings), autocast(settings), steps=steps)
        saved = self._restore(checkpoint, context)
        save = functools.partial(self._save, checkpoint)
        fitted = fit(model, optimizer, reg, data, context, loop, self.report, saved, save)
        self.remarks = list(dict.fromkeys([*self.remarks, *reg.remarks()]))
        self.seconds += sum(row["seconds"] for row in fitted.history)
        return fitted

    def _save(self, checkpoint: Path, state: dict[str, Any]) -> None:
        durable.write_checked(checkpoint, _packed({"fingerprint": fingerprint(self.settings), "fit": state}))

    def _restore(self, checkpoint: Path, context: Context) -> dict[str, Any] | None:
        content = durable.read_checked(checkpoint)
        if content is None:
            if checkpoint.exists():
                self.remarks.append(f"{checkpoint.name} was damaged; the fit started again")
            return None
        saved = torch.load(io.BytesIO(content), map_location=context.device, weights_only=True)
        if saved["fingerprint"] != fingerprint(self.settings):
            self.remarks.append("continued on another machine, torch or thread count: not bit-identical to one run")
        return saved["fit"]


def _run(settings: Settings, config: dict[str, Any], folder: Path, data: Data, report: Report) -> Result:
    fitter = Fitter(settings, folder, report)
    fitter.remarks += filter(None, [idle_norm(settings, data)])
    result = Result(
        run_id(config), "done", config, versions=versions(), fingerprint=fingerprint(settings), git=git_state()
    )
    try:
        chain = make_chain(settings)
        chain.begin("chain", Context(settings.seed, torch.device(settings.device)))  # `train` may draw random numbers
        fitted = chain.train(fitter, data)
        fitter.parameters = sum(p.numel() for p in fitted.last.parameters())
        fitter.remarks = list(dict.fromkeys([*fitter.remarks, *fitted.remarks]))
        started = time.perf_counter()
        _measure(result, settings, data, fitted)
        result.history = fitted.history
        result.seconds = fitter.seconds + time.perf_counter() - started
        _keep_weights(settings, folder, fitted)
    except Diverged as error:
        result.status, result.message = "diverged", str(error)
    except (KeyboardInterrupt, Interrupted):
        result.status, result.message = "interrupted", "the same command continues it"
        result.write(folder)
        raise
    except Exception as error:
        result.status = "failed"
        result.message = f"{type(error).__name__}: {error}"
        (folder / "traceback.txt").write_text(traceback.format_exc())
    result.remarks, result.parameters = fitter.remarks, fitter.parameters
    return result


def _measure(result: Result, settings: Settings, data: Data, fitted: Fitted) -> None:
    """Training and validation in evaluation mode, and the test set, once."""
    cast = autocast(settings)
    models = {"last": fitted.last, "best_val": fitted.best_val}
    result.train = evaluate(fitted.last, data.train, cast)
    clean = len(data.val) and not fitted.saw_val
    result.val = {k: evaluate(m, data.val, cast) if m and clean else None for k, m in models.items()}
    test = data.test.open()
    result.test = {k: evaluate(m, test, cast) if m else None for k, m in models.items()}
    result.test_reads = data.test.reads
    if not all(math.isfinite(m["loss"] or 0.0) for m in (result.train, result.test["last"])):
        result.train = result.val = result.test = None
        raise Diverged(len(fitted.history))


def _keep_weights(settings: Settings, folder: Path, fitted: Fitted) -> None:
    """Swap the checkpoints, which carry the optimizer's state, for the weights alone."""
    if settings.save_weights:
        models = {"last": fitted.last, "best_val": fitted.best_val}
        content = _packed({name: model.state_dict() for name, model in models.items() if model})
        durable.write_checked(folder / "weights", content)
    for path in folder.glob("checkpoint-*"):
        path.unlink()


def _packed(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
