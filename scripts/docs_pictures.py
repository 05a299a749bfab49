"""Pictures of options, by the code that trains: augmented images, rates over time, initial weights, paths on a ravine."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import nn

from dlreg.aug.preview import preview
from dlreg.config.build import build
from dlreg.config.card import Card
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.context import Context
from dlreg.data.normalize import channel_mean, to_unit
from dlreg.landscape import surfaces
from dlreg.landscape.figure import picture as landscape
from dlreg.reg.base import Chain
from dlreg.schedule.base import multiplier
from dlreg.schedule.preview import curve, save_png

SIDE, FINE = 32, 8  # pixels of a drawn photograph; drawn so many times larger
STEPS, RATE = 100, 0.1  # of a path; beside the optimizer's own rate


def augmented(name: str, path: Path) -> None:
    """Four drawn photographs before and after an augmentation."""
    x = torch.stack([torch.frombuffer(bytearray(scene(i).tobytes()), dtype=torch.uint8) for i in range(4)])
    x = x.view(4, SIDE, SIDE, 3).permute(0, 3, 1, 2).contiguous()
    settings = compose([f"aug={name}"])
    chain = Chain({word: build("aug", node) for word, node in settings.aug.items()})
    chain.begin("chain", Context(0, torch.device("cpu"), channel_mean(x), False))
    preview(chain, to_unit(x), torch.eye(4), name).save(path)


def scene(number: int) -> Image.Image:
    """A house, a boat, a tree or a flower: drawn, so that no photograph need be shipped."""
    image = Image.new(
        "RGB", (SIDE * FINE, SIDE * FINE), ((135, 190, 235), (250, 205, 150), (190, 220, 240), (120, 170, 90))[number]
    )
    draw = ImageDraw.Draw(image)
    if number == 0:
        draw.rectangle((0, 180, 256, 256), (95, 160, 70))
        draw.rectangle((60, 110, 180, 210), (205, 70, 55))
        draw.polygon([(45, 110), (120, 50), (195, 110)], (90, 60, 45))
        draw.rectangle((105, 150, 138, 210), (70, 45, 30))
        draw.ellipse((195, 20, 240, 65), (250, 220, 60))
    elif number == 1:
        draw.rectangle((0, 160, 256, 256), (30, 95, 150))
        draw.polygon([(50, 165), (215, 165), (180, 215), (85, 215)], (120, 65, 35))
        draw.polygon([(130, 30), (130, 155), (60, 155)], (245, 245, 240))
        draw.polygon([(140, 50), (140, 155), (200, 155)], (225, 60, 60))
    elif number == 2:
        draw.rectangle((0, 190, 256, 256), (150, 120, 75))
        draw.rectangle((112, 130, 145, 225), (100, 65, 35))
        draw.ellipse((50, 25, 205, 160), (45, 125, 60))
        for x, y in ((85, 70), (140, 55), (120, 105), (170, 95)):
            draw.ellipse((x, y, x + 22, y + 22), (220, 40, 40))
    else:
        draw.rectangle((122, 130, 134, 256), (40, 105, 40))
        for x, y in ((128, 45), (183, 85), (162, 150), (94, 150), (73, 85)):
            draw.ellipse((x - 36, y - 36, x + 36, y + 36), (235, 90, 160))
        draw.ellipse((98, 72, 158, 132), (250, 210, 60))
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def rates(name: str, path: Path) -> None:
    """The multipliers over the epochs of a run."""
    settings = compose([f"schedule={name}"])
    schedule = functools.partial(multiplier, build("schedule", settings.schedule), warmup=settings.schedule["warmup"])
    save_png(path, f"schedule={name}", *curve(schedule, settings.epochs, 2000))


def initial(name: str, path: Path) -> None:
    """Weights of a net of four tanh layers, and what comes out of each for inputs from N(0, 1)."""
    fill = build("init", compose([f"init={name}"]).init)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    widths, h = [256, 128, 128, 128, 10], torch.randn(500, 256, generator=generator)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(2, 4, sharex="row")
    for i, (n_in, n_out) in enumerate(zip(widths, widths[1:], strict=False)):
        layer = nn.Linear(n_in, n_out)
        fill(layer, generator)
        with torch.no_grad():
            h = torch.tanh(layer(h)) if i < 3 else layer(h)
        weights = layer.weight.detach().flatten()
        axes[0, i].hist(weights.numpy(), bins=60, color="#0072B2", density=True, histtype="stepfilled")
        axes[0, i].set_title(f"weights {i + 1}: {n_in} to {n_out}, sd {float(weights.std()):.3g}", fontsize=8)
        axes[1, i].hist(h.flatten().numpy(), bins=60, color="#D55E00", density=True, histtype="stepfilled")
        axes[1, i].set_title(f"{'tanh units' if i < 3 else 'logits'} {i + 1}, sd {float(h.std()):.3g}", fontsize=8)
    for axis in axes.flat:
        axis.tick_params(labelsize=7)
        axis.set_yticks([])
    figure.savefig(path, dpi=110)


def walked(name: str, path: Path) -> None:
    """The path on a ravine at the optimizer's own rate and at a common one, beside plain gradient descent's."""
    torch.manual_seed(0)
    own = compose([f"optimizer={name}"]).optimizer
    nodes = (
        {f"{name} lr={own['lr']:g}": own, f"{name} lr={RATE:g}": {**own, "lr": RATE}} if "lr" in own else {name: own}
    )
    nodes[f"sgd lr={RATE:g}"] = {**compose(["optimizer=sgd"]).optimizer, "lr": RATE}
    ravine, walk = surfaces.SURFACES["ravine"], surfaces.Walk(STEPS)
    paths = [surfaces.descend(label, build("optimizer", node), ravine, walk) for label, node in nodes.items()]
    landscape({"ravine": paths}, 1e-3).savefig(path, dpi=90)


PICTURES: dict[str, tuple[Callable[[str, Path], None], str]] = {
    "aug": (augmented, "four drawn pictures in the left column, and what {0} makes of each in seven draws"),
    "schedule": (rates, "the multiplier of the base rate over 20 epochs"),
    "init": (initial, "weights (top) and outputs (bottom) of four tanh layers at the start, inputs from N(0, 1)"),
    "optimizer": (
        walked,
        f"{STEPS} steps of {{0}} on a ravine, at its own rate and at {RATE:g}, beside plain gradient descent",
    ),
}


PATHLESS = ("best_subset", "least_squares", "omp")  # optimizers that solve in one step


def pictured(card: Card) -> str:
    """What the picture of an option shows; nothing for one that has none."""
    if card.name in PATHLESS or card.group not in PICTURES or not card.parts:
        return ""
    return PICTURES[card.group][1].format(card.name)


def draw(sources: Path) -> None:
    """Every picture, beside the page of its option."""
    jobs = [(group, name, sources / group / f"{name}.png") for group in PICTURES for name in options(group)]
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        list(
            pool.map(
                _draw,
                *zip(*[job for job in jobs if job[:2] != ("aug", "none") and job[1] not in PATHLESS], strict=True),
            )
        )


def _draw(group: str, name: str, path: Path) -> None:
    torch.set_num_threads(1)
    PICTURES[group][0](name, path)
