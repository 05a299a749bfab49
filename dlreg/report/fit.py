"""The fitted curves of a regression on one feature: a panel for each row, the mean over its runs with a band."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlreg.data.task import word_of
from dlreg.errors import UserError
from dlreg.report.figure import give_title, name_of
from dlreg.report.frame import COLOURS
from dlreg.report.table import Row, Table
from dlreg.run.reopen import Opened, reopen

POINTS = 400  # of a curve
PANELS = 4  # beside each other
ROOM = 0.35  # above and below the samples, of their range: a wild curve leaves the picture


def fit(table: Table) -> Figure:
    """Training samples of the first run, and what the row's models say over their range.

    Raises:
        UserError: the runs are no regression of one value on one feature, or kept no weights.
    """
    rows = [row for row in table.rows if row.runs]
    across = min(PANELS, len(rows))
    down = math.ceil(len(rows) / across)
    figure = Figure(figsize=(2.3 * across + 0.6, 2.1 * down + 0.7), dpi=200)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, row in zip(panels.flat, rows, strict=False):
        _panel(axes, row, table.select)
    for axes in panels.flat[len(rows) :]:
        axes.set_visible(False)
    give_title(figure, table, "points: training samples; line: mean over runs; band: ± one standard deviation")
    return figure


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
    axes.set_title(", ".join(f"{key} {value}" for key, value in row.label.items() if value) or name_of(row), fontsize=8)


def _opened(folder: object, select: str) -> Opened:
    found = reopen(str(folder), "best_val" if select == "best_val" else "last")
    if found.data.shape != (1,) or word_of(found.data.train.y) != "values" or found.data.classes != 1:
        raise UserError("--kind fit draws one value over one feature, as data=sine has them")
    return found
