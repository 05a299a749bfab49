"""What `train.evaluate` returns, against numpy."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from dlreg.data.base import Split
from dlreg.run import evaluate as evaluation
from dlreg.run.evaluate import Tally, evaluate


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


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_squared_error_and_r2_equal_numpy(spread):
    generator = torch.Generator().manual_seed(0)
    values = 1 + spread * torch.randn(40, 1, generator=generator)
    outputs = values + 0.3 * torch.randn(40, 1, generator=generator)
    counted = evaluation.OfValues(functional.mse_loss, torch.device("cpu"))
    for part in range(0, 40, 16):
        counted.add(outputs[part : part + 16], values[part : part + 16])
    found, y, e = counted.metrics(40), values.double().numpy(), (outputs - values).double().numpy()
    assert found["mse"] == pytest.approx((e**2).mean(), rel=1e-6)
    assert found["loss"] == pytest.approx((e**2).mean(), rel=1e-6)
    assert found["r2"] == (pytest.approx(1 - (e**2).sum() / ((y - y.mean()) ** 2).sum(), rel=1e-6) if spread else None)


def test_an_epochs_sums_are_of_its_samples_and_begin_at_nothing():
    tally = Tally(0, lambda outputs, targets: (outputs.argmax(1) != targets).sum())
    assert (tally.loss, tally.missed, tally.samples) == (0, 0, 0) == (tally.flush(), tally.missed, tally.samples)
    for loss, size in ((1.0, 4), (4.0, 2)):
        logits = torch.eye(2).repeat(size // 2, 1)
        tally.add(torch.tensor(9.0), torch.tensor(loss), logits, torch.zeros(size, dtype=torch.long))
    assert tally.flush() == 4.0 and (tally.loss, tally.missed, tally.samples, tally.next_step) == (12, 3, 6, 2)
    assert tally.flush() == 0.0 and (tally.loss, tally.missed, tally.samples, tally.next_step) == (12, 3, 6, 2)
