"""`dlreg surface`: the loss around the solution of a run, or on the line between those of two."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.commands.output import write
from dlreg.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from dlreg.landscape.solutions import Place, Point, Weights
    from dlreg.run.reopen import Opened
    from dlreg.run.result import Select

DESCRIPTION = """The training loss around the solution of a run, or on the line between the solutions of two.

  dlreg surface RUN -o surface.png            a plane through it, spanned by two random directions
  dlreg surface RUN RUN2 -o line.svg          from one to the other, and a little beyond
  dlreg surface RUN -o surface.csv            the numbers (or .json)

A direction's every filter is as long as the run's (Li et al. 2018); biases and normalization stay, and the statistics of
batch normalization are taken anew at each point."""
PICTURES = (".png", ".svg", ".pdf")


def run(argv: list[str]) -> int:
    """Measure, and write the picture or the numbers; returns the exit status."""
    parser = Parser("surface", DESCRIPTION)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="one run or two: folders, or names in outputs")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("surface.png"), metavar="FILE", help="png svg pdf csv json"
    )
    parser.add_argument("--points", type=int, default=None, metavar="N", help="to a side, or of the line [25, 41]")
    parser.add_argument(
        "--span", type=float, default=None, metavar="S", help="how far in each direction [1; of a line 0.25]"
    )
    parser.add_argument("--samples", type=int, default=1000, metavar="N", help="training samples the loss is of [1000]")
    parser.add_argument("--seed", type=int, default=0, help="of the directions and the samples [0]")
    parser.add_argument("--select", choices=("last", "best_val"), default="last", help="which weights [last]")
    given = parser.parse_args(argv)
    if len(given.runs) > 2:
        raise UserError(f"{given.runs[2]}: give one run, or two")
    if given.output.suffix not in (*PICTURES, ".csv", ".json"):
        raise UserError(f"-o {given.output} must end in {', '.join((*PICTURES, '.csv', '.json'))}")
    lone = len(given.runs) == 1
    points, span = given.points or (25 if lone else 41), (1.0 if lone else 0.25) if given.span is None else given.span
    for flag, value, least in (("points", points, 2), ("samples", given.samples, 2), ("seed", given.seed, 0)):
        if value < least:
            raise UserError(f"--{flag}={value} must be at least {least}")
    if not 0 < span < math.inf:
        raise UserError(f"--span={span:g} must be above 0, and finite")
    opened = _opened(given.runs, given.select)
    directions, places = _geometry(opened, points, span, given.seed)
    found = _measured(opened[0], directions, places, (given.samples, given.seed))
    samples = min(given.samples, len(opened[0].data.train))
    title = f"{' to '.join(one.result.run_id for one in opened)}\nof {samples:,} training samples"
    write(given.output, _content(found, title, given.output.suffix))
    ui.out.print(str(given.output), markup=False)
    return 0


def _opened(names: Sequence[str], select: Select) -> list[Opened]:
    from dlreg.run.reopen import reopen

    opened = [reopen(name, select) for name in names]
    for name, one in zip(names, opened, strict=True):
        if hasattr(one.model, "members"):
            raise UserError(f"{name}: a committee is not one solution but several")
        if not list(one.model.parameters()):
            raise UserError(f"{name}: its model has no weights that could be others")
    return opened


def _geometry(opened: Sequence[Opened], points: int, span: float, seed: int) -> tuple[list[Weights], list[Place]]:
    from dlreg.landscape import solutions

    models = [one.model for one in opened]
    if len(models) == 1:
        directions = [solutions.filter_normalized(models[0], 2 * seed + i) for i in (0, 1)]
        return directions, solutions.plane(span, points)
    return [solutions.between(*models)], solutions.line(span, points)


def _measured(
    opened: Opened, directions: Sequence[Weights], places: Sequence[Place], sample: tuple[int, int]
) -> list[Point]:
    """The loss at every place; how long it will take is said after the first."""
    import torch

    from dlreg.landscape.solutions import walk
    from dlreg.reg.averages import gather_statistics
    from dlreg.run.evaluate import evaluate
    from dlreg.run.machine import autocast

    train, (most, seed) = opened.data.train, sample
    index = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:most]
    few = train[index.to(train.y.device)]

    def measure(model: nn.Module) -> dict[str, Any]:
        gather_statistics(model, few.x)
        return evaluate(model, few, opened.criterion, autocast(opened.settings))

    found, started = [], time.monotonic()
    with ui.bar("points", len(places)) as advance:
        for point in walk(opened.model, directions, places, measure):
            found.append(point)
            advance()
            if len(found) == 1:
                ui.err.print(f"{len(places)} points, about {(time.monotonic() - started) * len(places):.0f} s")
    return found


def _content(found: Sequence[Point], title: str, suffix: str) -> bytes:
    rows = [{k: v if v is not None and math.isfinite(v) else None for k, v in asdict(point).items()} for point in found]
    if suffix == ".json":
        return (json.dumps({"title": title, "points": rows}, indent=1) + "\n").encode()
    if suffix == ".csv":
        lines = [
            ",".join(rows[0]),
            *(",".join("" if value is None else f"{value:.8g}" for value in row.values()) for row in rows),
        ]
        return ("\n".join(lines) + "\n").encode()
    from dlreg.landscape.solutions_figure import draw

    return draw(found, title, suffix.removeprefix("."))
