"""`dlreg landscape`: the paths of optimizers on two-dimensional surfaces, drawn from the very options that train."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path as File
from typing import Any

from rich.table import Table

from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.commands.output import write
from dlreg.config import guard
from dlreg.config.applying import Applying
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.config.options import options, user_config_dirs
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError, did_you_mean, shown

DESCRIPTION = """The paths of optimizers on two-dimensional surfaces, and the loss against the step.

  dlreg landscape optimizer=sgd,momentum,adam surface=beale,saddle,ravine
  dlreg landscape optimizer=sgd surface=quadratic optimizer.lr=0.05,0.19,0.21    beyond 2/L it diverges
  dlreg landscape optimizer=momentum,nesterov surface=ravine optimizer.momentum=0.95
  dlreg landscape optimizer=sgd,adam surface=quadratic noise=0.5                 the noise floor

A key of an option applies where the option has it, as in a sweep."""
NUMBERS: dict[str, tuple[type, float, float]] = {  # default, least
    "steps": (int, 1000, 1),
    "seed": (int, 0, 0),
    "noise": (float, 0.0, 0.0),
    "tolerance": (float, 1e-3, 0.0),
}


def run(argv: list[str]) -> int:
    """Run the optimizers, draw, print the table; returns the exit status."""
    from dlreg.landscape import surfaces as landscape

    folders, rest = user_config_dirs(argv)
    parser = Parser("landscape", DESCRIPTION)
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help=f"optimizer, surface, gif, {', '.join(NUMBERS)}")
    parser.add_argument("-o", "--output", metavar="FILE", default="landscape.png", help="png, pdf or svg")
    given = parser.parse_args(rest)
    file = File(given.output)
    if file.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"-o {file} must end in .png, .pdf or .svg")
    guard.once([word for word in given.words if "=" in word])
    words = dict(_pair(word) for word in given.words)
    names = _chosen(words.pop("optimizer", "sgd,momentum,adam"), "optimizer", list(options("optimizer", folders)))
    surfaces = _chosen(words.pop("surface", "beale,saddle,ravine"), "surface", list(landscape.SURFACES))
    gif = words.pop("gif", "false").lower()
    if gif not in ("true", "false"):
        raise UserError(f"gif={gif} must be true or false")
    numbers = {key: _number(key, words.pop(key, None)) for key in NUMBERS}
    nodes = _nodes(names, words, folders)
    walk = landscape.Walk(int(numbers["steps"]), numbers["noise"], int(numbers["seed"]))
    paths: dict[str, list[Any]] = {surface: [] for surface in surfaces}
    with ui.bar("paths", len(surfaces) * len(nodes)) as advance:
        for surface, (label, node) in itertools.product(surfaces, nodes):
            paths[surface].append(landscape.descend(label, build("optimizer", node), landscape.SURFACES[surface], walk))
            advance()
    ui.out.print(_table(paths, numbers["tolerance"]))
    with suppress(OSError):  # of which the writing will tell
        file.parent.mkdir(parents=True, exist_ok=True)
    for written, content in _drawn(paths, file, gif == "true", numbers["tolerance"]):
        write(written, content)
        ui.out.print(f"wrote {written}", markup=False)
    return 0


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    known = ["optimizer", "surface", "gif", *NUMBERS]
    what = "there is no such key" if equals else "give KEY=VALUE"
    if not equals or not (key in known or key.startswith("optimizer.")):
        hint = "" if key in GROUPS else did_you_mean(key, known)
        raise UserError(f"{shown(word)}: {what} here.{hint} Allowed: {', '.join(known)}, optimizer.KEY.")
    return key, value


def _chosen(text: str, key: str, known: list[str]) -> list[str]:
    names = [name.strip() for name in text.strip("[]").split(",")]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"{key}={name}: there is no such {key}.{hint} Allowed: {', '.join(known)}.")
    return list(dict.fromkeys(names))


def _number(key: str, text: str | None) -> float:
    kind, default, least = NUMBERS[key]
    try:
        value = kind(default if text is None else text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise UserError(f"{key}={text} must be a {'whole ' if kind is int else ''}number, at least {least:g}")
    return value


def _nodes(names: list[str], words: dict[str, str], folders: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """`(label, settings)` of every optimizer, with the values of the keys it has."""
    nodes = []
    values = {key: _split(text) for key, text in words.items()}
    applying = Applying(values)
    for name in names:
        there = applying.to({"optimizer": compose([f"optimizer={name}"], folders).optimizer})
        own = [key for key in values if key in there]
        for point in itertools.product(*(values[key] for key in own)):
            picked = [f"{key}={value}" for key, value in zip(own, point, strict=True)]
            swept = [p.removeprefix("optimizer.") for p in picked if len(values[p.partition("=")[0]]) > 1]
            node = compose([f"optimizer={name}", *picked], folders).optimizer
            nodes.append((" ".join([name, *swept]), node))
    applying.refuse_unused(f"none of {', '.join(names)}")
    return nodes


def _split(text: str) -> list[str]:
    return [text] if text.startswith("[") else text.split(",")


def _table(paths: dict[str, list[Any]], tolerance: float) -> Table:
    table = Table("surface", "optimizer", "lr", "steps", "evaluations", "steps uphill", "last f − f*", box=None)
    table.caption = f"steps and evaluations of the loss until it stays within {tolerance:g} of the least value"
    for surface, walked in paths.items():
        for path in walked:
            step = path.reached(tolerance)
            told = "diverged" if path.diverged else "—" if step is None else str(step)
            calls = "—" if step is None else str(path.calls[step])
            last = "—" if path.diverged else f"{path.losses[-1]:.2g}"
            table.add_row(surface, path.label, f"{path.lr:g}", told, calls, str(path.rises), last)
    return table


def _drawn(paths: dict[str, list[Any]], file: File, gif: bool, tolerance: float) -> Iterator[tuple[File, bytes]]:
    """The picture, and if it is asked for its animation: file and content."""
    from dlreg.landscape import figure

    picture = figure.picture(paths, tolerance)
    yield file, figure.still(picture, file.suffix.removeprefix("."))
    if gif:
        with ui.bar("frames", figure.FRAMES) as advance:
            yield file.with_suffix(".gif"), figure.animation(picture, advance)
