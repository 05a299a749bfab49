"""The errors of a model in the tasks that it has beside the classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlreg.data.base import Split
from dlreg.data.normalize import to_unit
from dlreg.model.tasks import QUESTIONS, Task
from dlreg.passes import as_it_predicts, device_of
from dlreg.run.evaluate import EVAL_BATCH


@torch.no_grad()
def task_errors(model: nn.Module, split: Split, classes: int) -> dict[str, float | None]:
    """`parity_error` and the like, as fractions, of the tasks of this model; what is drawn for them is always the same."""
    tasks: list[Task] = (
        getattr(model, "tasks", []) if hasattr(model, "answer") else []
    )  # of `Tasks`, or a committee of such
    if not tasks:
        return {}
    device = device_of(model)
    found: dict[str, float | None] = {}
    for task in tasks:
        answer: Callable[..., Tensor] = model.answer  # type: ignore[assignment]
        generator, wrong = torch.Generator(device).manual_seed(0), 0
        for x, y in zip(split.x.split(EVAL_BATCH), split.y.split(EVAL_BATCH), strict=True):
            one_hot = torch.eye(classes, device=device)[y.to(device)]
            samples, targets = QUESTIONS[task].ask(to_unit(x.to(device)), one_hot, generator)
            with as_it_predicts(model):
                wrong += int((answer(task, samples).argmax(1) != targets.argmax(1)).sum())
        found[f"{task}_error"] = wrong / len(split)
    return found
