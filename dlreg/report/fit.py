"""The fitted curves of a regression on one feature: a panel for each row, the mean over its runs with a band."""

from __future__ import annotations

import functools

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlreg.data.task import word_of
from dlreg.errors import UserError
from dlreg.report.figure import panels
from dlreg.report.frame import COLOURS
from dlreg.report.table import Row, Table
from dlreg.run.reopen import Opened, reopen

POINTS = 400  # of a curve
ROOM = 0.35  # above and below the samples, of their range: a wild curve leaves the picture


def fit(table: Table) -> Figure:
    """Training samples of the first run, and what the row's models say over their range.

    Raises:
        UserError: the runs are no regression of one value on one feature, or kept no weights.
    """
    note = "points: training samples; line: mean over runs; band: ± one standard deviation"
    return panels(table, functools.partial(_panel, select=table.select), note, (2.3, 2.1))


def _panel(axes: Axes, row: Row, select: str) -> None:
    opened = [_opened(run.folder, select) for run in row.runs]
    train = opened[0].data.train
    low, high = float(train.x.min()), float(train.x.max())
    x = torch.linspace(low, high, POINTS, dtype=train.x.dtype, device=train.x.device).unsqueeze(1)
    with torch.no_grad():
        curves = np.stack([o.model(x)[:, 0].double().cpu().numpy() for o in opened])
    place, mean = x[:, 0].cpu().numpy(), curves.mean(0)
    axes.plot(train.x[:, 0].cpu(), train.y[:, 0].cpu(), "o", color="#555555", markersize=3, markerfacecolor="white")
    axes.plot(place, mean, color=COLOURS[0])
    if len(curves) > 1:
        sd = curves.std(0, ddof=1)
        axes.fill_between(place, mean - sd, mean + sd, color=COLOURS[0], alpha=0.2, linewidth=0)
    least, most = float(train.y.min()), float(train.y.max())
    room = ROOM * max(most - least, 1e-9)
    axes.set_ylim(least - room, most + room)


def _opened(folder: object, select: str) -> Opened:
    found = reopen(str(folder), "best_val" if select == "best_val" else "last")
    if found.data.shape != (1,) or word_of(found.data.train.y) != "values" or found.data.classes != 1:
        raise UserError("--kind fit draws one value over one feature, as data=sine has them")
    return found
