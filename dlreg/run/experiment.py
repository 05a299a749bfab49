"""One experiment, start to end: settings -> parts -> fit -> one look at the test set -> Result."""

from __future__ import annotations

import functools
import math
import shutil
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlreg import durable
from dlreg.config.schema import Settings
from dlreg.context import Context
from dlreg.data.base import Data, Split
from dlreg.errors import Diverged, Stopped
from dlreg.log.base import Begun
from dlreg.reg.base import Fitted
from dlreg.run.allocator import keep_freed_memory
from dlreg.run.artifacts import WEIGHTS, pack_predictions, pack_weights
from dlreg.run.by_class import by_class
from dlreg.run.claim import Busy, Claim, refuse_held
from dlreg.run.content import content, split_digest
from dlreg.run.evaluate import evaluate
from dlreg.run.fitter import Fitter
from dlreg.run.linear import measures
from dlreg.run.loop import Report
from dlreg.run.machine import autocast, resolve
from dlreg.run.parts import idle_norm, idle_weights, load, make_chain, make_data
from dlreg.run.predictions import PREDICTIONS
from dlreg.run.provenance import fingerprint, git_state, versions
from dlreg.run.rehearse import rehearse
from dlreg.run.result import FINAL, Result, Status, damaged, read, run_id
from dlreg.run.robust import Attacker
from dlreg.run.start import start_remark
from dlreg.run.tasks import task_errors
from dlreg.run.threads import set_threads
from dlreg.run.tracking import Tracked, make_trackers


@dataclass(frozen=True)
class Experiment:
    """What one command line means on this machine: settings without `auto`, and the run that they name."""

    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> Experiment:
        """The experiment that these settings describe here. The only place that resolves `auto`.

        Raises:
            UserError: the device asked for is not there.
        """
        return cls(resolve(settings))

    def with_seed(self, seed: int) -> Experiment:
        """The same experiment with another seed."""
        return Experiment(self.settings.model_copy(update={"seed": seed}))

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """The settings as plain containers, and the digests of what else decides the result, if anything does."""
        digests = content(self.settings)
        return self.settings.model_dump() | ({"content": digests} if digests else {})

    @functools.cached_property
    def run_id(self) -> str:
        """The name of the run: the same experiment, the same name."""
        return run_id(self.config)

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.settings.outputs) / self.run_id

    def finished(self) -> Result | None:
        """The result if it is there, final, and whole: damaged or missing files are to be made again."""
        try:
            result = read(self.folder)
        except ValueError:
            return None
        return result if result and result.status in FINAL and not damaged(result, self.folder) else None

    def earlier(self) -> Result | None:
        """What an earlier command finished, unless it is to be run again. Checkpoints that a kill just then left go."""
        if self.settings.rerun or not (finished := self.finished()):
            return None
        _drop_checkpoints(self.folder)
        return finished

    def result(self) -> Result:
        """What there is of the run: its result, or an `interrupted` one in its place."""
        try:
            found, why = read(self.folder), "no result yet"
        except ValueError as error:
            found, why = None, str(error)
        return found or Result(self.run_id, "interrupted", self.config, message=why)

    def data(self) -> Data:
        """The sets of the run, on its device. Raises UserError: they are not there, or not what they should be."""
        return make_data(self.settings, load(self.settings.data))

    def run(self, report: Report, rehearsed: bool = False) -> Result:
        """Run the experiment, or return its result if it is there already; continue it if it was cut short.

        A failure or a divergence is a Result too. What the user must mend is refused before anything is written: unless
        the experiment was `rehearsed` with another seed, as those of a sweep are, it is rehearsed first.

        Raises:
            UserError: bad input. Busy: another process has it, or took it over.
            Stopped, KeyboardInterrupt: asked to stop; resumable.
        """
        if earlier := self.earlier():
            return earlier
        refuse_held(self.folder)  # before data are loaded for nothing
        data = self.data()
        if not rehearsed:
            rehearse(self.settings, data)
        set_threads(self.settings, data)
        keep_freed_memory()
        with Claim(self.folder) as claim:
            durable.tidy(self.folder)
            if self.settings.rerun:
                _clear(self.folder)
            elif finished := self.finished():  # another process finished it while this one got ready
                return finished
            durable.write_json(self.folder / "config.json", self.config)
            tracked = Tracked(report, make_trackers(self.settings), claim)
            tracked.begin(Begun(self.run_id, self.folder, self.config))
            result = self._run(data, tracked)
            try:
                tracked.write(result)
            except OSError as error:  # the checkpoints stay: the same command goes on from the last
                return self._failed(result, f"result.json could not be written: {error.strerror or error}")
            if result.status in FINAL:  # not before: a kill in between must not cost the fit
                _drop_checkpoints(self.folder)
        return result

    def _run(self, data: Data, tracked: Tracked) -> Result:
        settings, folder = self.settings, self.folder
        fitter = Fitter(settings, folder, tracked, tracked.layers)
        fitter.remarks += filter(
            None, [idle_norm(settings, data), idle_weights(settings, data), start_remark(settings)]
        )
        result = Result(self.run_id, "done", self.config, versions=versions(), git=git_state())
        result.fingerprint = fingerprint(settings)
        result.test_reads = self._test_reads_so_far()
        try:
            chain = make_chain(settings)
            chain.begin(
                "chain", Context(settings.seed, torch.device(settings.device))
            )  # `train` may draw random numbers
            fitted = chain.train(fitter, data)
            fitter.parameters = sum(p.numel() for p in fitted.last.parameters())
            fitter.remarks = list(dict.fromkeys([*fitter.remarks, *fitted.remarks]))
            started = time.perf_counter()
            kept = _measure(result, settings, data, fitted)
            fitter.remarks += result.remarks
            result.history = fitted.history
            result.seconds = fitter.seconds + time.perf_counter() - started
            tracked.claim.check()
            for name, file in kept.items():
                durable.write_atomic(folder / name, file)
                result.files[name] = durable.digest(file)
        except Diverged as error:
            result = self._without_numbers(result, "diverged", str(error))
        except (KeyboardInterrupt, Stopped) as asked:
            with suppress(Busy):
                tracked.write(self._without_numbers(result, "interrupted", getattr(asked, "why", Stopped.why)))
            raise
        except Busy:
            raise
        except Exception as error:
            result = self._failed(result, f"{type(error).__name__}: {error}")
        result.remarks, result.parameters = fitter.remarks, fitter.parameters
        return result

    def _without_numbers(self, result: Result, status: Status, message: str) -> Result:
        """What is told of a run that is not done: no number that could be taken for its result."""
        nothing: dict[str, Any] = dict.fromkeys(("train", "val", "test", "seconds"))
        return replace(result, status=status, message=message, history=[], measures={}, **nothing)

    def _failed(self, result: Result, message: str) -> Result:
        with suppress(OSError):  # a full disk may be why it failed
            (self.folder / "traceback.txt").write_text(traceback.format_exc())
        return self._without_numbers(result, "failed", message)

    def _test_reads_so_far(self) -> int:
        """By earlier attempts at this run that failed after they had read the test set."""
        try:
            earlier = read(self.folder)
        except ValueError:
            return 0
        return earlier.test_reads if earlier else 0


def _measure(result: Result, settings: Settings, data: Data, fitted: Fitted) -> dict[str, bytes]:
    """Training and validation in evaluation mode, and the test set, once. Returns what is kept beside the numbers."""

    attacker = Attacker.of(settings, fitted.criterion)

    def measured(model: nn.Module, split: Split, keep: Any = None) -> dict[str, float | None]:
        return evaluate(model, split, fitted.criterion, autocast(settings), keep)

    def attacked(model: nn.Module, split: Split, keep: list[torch.Tensor] | None = None) -> dict[str, float | None]:
        outputs: list[torch.Tensor] = keep if keep is not None else []
        metrics, (columns, remarks) = measured(model, split, outputs.append), attacker.errors(model, split)
        result.remarks = list(dict.fromkeys([*result.remarks, *remarks]))
        others = by_class(torch.cat(outputs), split, data.train) | task_errors(model, split, data.classes)
        return metrics | others | columns

    models = {"last": fitted.last, "best_val": fitted.best_val}
    result.train = measured(fitted.last, data.train)
    clean = len(data.val) and not fitted.saw_val
    result.val = {k: attacked(m, data.val) if m and clean else None for k, m in models.items()}
    test = data.test.open()
    result.test_reads += data.test.reads
    result.test_set = split_digest(test)
    logits: dict[str, list[torch.Tensor]] = {k: [] for k, m in models.items() if m}
    result.test = {k: attacked(m, test, logits[k]) if m else None for k, m in models.items()}
    numbers = [metrics["loss"] for metrics in (result.train, result.test["last"]) if metrics]
    if not all(math.isfinite(loss or 0.0) for loss in numbers):
        raise Diverged(max(len(fitted.history) * fitted.steps_per_epoch - 1, 0))
    found = {k: measures(m, fitted.criterion, data.train.x) for k, m in models.items() if m}
    result.measures = {k: numbers for k, numbers in found.items() if numbers}
    softmax = getattr(fitted.criterion, "softmax", True)
    kept = {PREDICTIONS: pack_predictions(test.y, logits, softmax, data.truth)}
    return kept | ({WEIGHTS: pack_weights(fitted)} if settings.save_weights else {})


def _drop_checkpoints(folder: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        path.unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith((".claim-", ".held-")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
