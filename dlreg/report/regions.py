"""Decision regions over two features: a panel for each row, of its first run."""

from __future__ import annotations

import functools

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dlreg.errors import UserError
from dlreg.report.figure import panels
from dlreg.report.frame import COLOURS
from dlreg.report.inside import DOTS, decisions, two_features
from dlreg.report.table import Row, Table
from dlreg.run.reopen import reopen


def regions(table: Table) -> Figure:
    """The class that the model gives to each point, stronger where it is surer, and the test samples.

    Raises:
        UserError: the runs have no two features, or no classes, or kept no weights.
    """
    note = "dots: test samples in the colour of their class; of several seeds the first"
    return panels(table, functools.partial(_panel, select=table.select), note, (2.6, 2.5))


def _panel(axes: Axes, row: Row, select: str) -> None:
    opened = reopen(str(row.runs[0].folder), "best_val" if select == "best_val" else "last")
    if not two_features(opened):
        raise UserError("--kind regions draws classes over two features, as data=two_moons, spiral and xor have them")
    image, (x0, x1), (y0, y1) = decisions(opened, opened.test)
    axes.imshow(image.permute(1, 2, 0).numpy(), extent=(x0, x1, y0, y1), aspect="auto", interpolation="nearest")
    x, y = opened.test.x[:DOTS].cpu().numpy(), opened.test.y[:DOTS].tolist()
    axes.scatter(x[:, 0], x[:, 1], s=4, c=[COLOURS[k % len(COLOURS)] for k in y], edgecolors="white", linewidths=0.2)
    axes.grid(visible=False)
