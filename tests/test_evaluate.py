"""What `train.evaluate` returns, against numpy."""

import numpy as np
import torch
from torch import nn

from dlreg.data.base import Split
from dlreg.run import evaluate as evaluation
from dlreg.run.evaluate import evaluate


class Fixed(nn.Module):
    """Reads the number of the sample from its first pixel and answers with a fixed row of logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits[(x.flatten(1)[:, 0] * 255).round().long()]


def split(labels):
    images = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return Split(images, labels)


def test_calibration_error_equals_numpy(monkeypatch):
    monkeypatch.setattr(evaluation, "EVAL_BATCH", 37)  # bins add up over batches
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(250, 10, generator=generator)
    labels = torch.randint(10, (250,), generator=generator)
    found = evaluate(Fixed(logits), split(labels))

    p = torch.softmax(logits, 1).double().numpy()
    confidence, right = p.max(1), p.argmax(1) == labels.numpy()
    ece = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert abs(found["ece"] - ece) < 1e-6
    assert found["samples"] == 250
    assert abs(found["loss"] + np.log(p[np.arange(250), labels]).mean()) < 1e-6


def test_calibration_error_at_the_ends():
    sure = torch.full((4, 10), -100.0)
    sure[:, 3] = 100.0
    assert evaluate(Fixed(sure), split(torch.full((4,), 3)))["ece"] < 1e-12  # certain and right
    assert abs(evaluate(Fixed(sure), split(torch.zeros(4, dtype=torch.long)))["ece"] - 1) < 1e-12  # certain and wrong
    uniform = torch.zeros(10, 10)
    assert abs(evaluate(Fixed(uniform), split(torch.arange(10)))["ece"]) < 1e-7  # knows nothing and says so


def test_ties_count_as_they_do_in_training():
    """Among equal logits the lowest class is the answer, in the error and as one of five."""
    logits = torch.randint(2, (400, 40), generator=torch.Generator().manual_seed(0)).float()
    labels = torch.randint(40, (400,), generator=torch.Generator().manual_seed(1))
    labels[:200] = logits[:200].argmax(1)
    model = Fixed(logits[:200])
    found = evaluate(model, split(labels[:200]))
    assert found["error"] == 0 and found["top5_error"] == 0
    wrong = (logits[200:].argmax(1) != labels[200:]).double().mean()
    assert evaluate(Fixed(logits[200:]), split(labels[200:]))["error"] == wrong
