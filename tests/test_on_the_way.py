"""Columns that are read off the learning curve."""

import pytest
from results import result

from dlreg.report.metrics import METRICS


def along(val, train=(4.0, 2.0, 1.0, 0.5, 0.5)):
    one = result()
    one.history = [
        {"epoch": i + 1, "train_loss": t, "val_error": v} for i, (t, v) in enumerate(zip(train, val, strict=False))
    ]
    return one


@pytest.mark.parametrize(
    ("errors", "quarter", "half"),
    [([0.9, 0.8, 0.7, 0.6], 90, 80), ([0.9, 0.8, 0.7, 0.6, 0.5], 80, 70), ([0.9], 90, 90), ([None, None], None, None)],
)
def test_the_error_on_the_way_is_that_of_the_epoch_in_which_so_much_was_over(errors, quarter, half):
    run = along(errors)
    found = [METRICS[f"val_error_{share}"].of(run, "last") for share in ("quarter", "half")]
    assert found == [None if e is None else pytest.approx(e) for e in (quarter, half)]


def test_the_mean_training_loss_is_over_all_epochs():
    assert METRICS["mean_train_loss"].of(along([0.5] * 5), "last") == pytest.approx(1.6)
    assert METRICS["mean_train_loss"].of(along([]), "last") is None
    assert METRICS["val_error_half"].of(along([]), "last") is None
