"""`dlreg show GROUP=OPTION`: the card of one option, or of several; the curve of a schedule; a picture of augmentations."""

from __future__ import annotations

import functools
import io
from pathlib import Path

from rich.markup import escape

from dlreg import ui
from dlreg.commands.arguments import Parser
from dlreg.commands.output import write
from dlreg.config.build import build
from dlreg.config.card import Card, card
from dlreg.config.compose import compose
from dlreg.config.hints import choosing, instead_of_option
from dlreg.config.options import options, user_config_dirs
from dlreg.config.schema import GROUPS, Settings
from dlreg.errors import UserError, did_you_mean
from dlreg.schedule.base import multiplier
from dlreg.schedule.preview import STEPS, bars, curve, save_png

PREVIEWED = 128  # images that are augmented together, of which the first are shown
WIDTH, HEIGHT = 70, 6  # of a curve on the terminal, in characters


def run(argv: list[str]) -> int:
    """Print the card; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = Parser("show", "The card of one option: dlreg show reg=dropout")
    parser.add_argument(
        "option", nargs="?", default="", metavar="GROUP=OPTION", help="or, where options stack, GROUP=[OPTION,OPTION]"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="other values: schedule.t_0=5 epochs=70")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the curve of a schedule into a file as well")
    parser.add_argument("--preview", metavar="FILE.png", help="images before and after augmentations (of data=...)")
    arguments = parser.parse_intermixed_args(rest)
    group, equals, value = arguments.option.partition("=")
    if not equals:
        what, hint = arguments.option or "which option", choosing(group).replace("Write", "Write dlreg show")
        raise UserError(f"{what}: give GROUP=OPTION, such as reg=dropout (dlreg list names all).{hint}")
    if group == "study":
        raise UserError(f"{arguments.option}: a study's rows are shown by dlreg study {value} --dry-run")
    if group not in GROUPS:
        raise UserError(f"{group}: there is no such group.{did_you_mean(group, GROUPS)} Allowed: {', '.join(GROUPS)}.")
    known = options(group, folders)
    names = [name.strip() for name in value.removeprefix("[").removesuffix("]").split(",")]
    if len(names) > 1 and not GROUPS[group].stack:
        raise UserError(f"{group}={value}: {group} takes one option, not a list; show them one at a time")
    for name in names:
        if name not in known:
            hint = instead_of_option(name, known)
            raise UserError(f"{group}={name}: there is no such option.{hint} Allowed: {', '.join(known)}.")
    if arguments.plot and group != "schedule":
        raise UserError(f"--plot draws schedules; {group}={value} is none")
    if arguments.preview and group != "aug":
        raise UserError(f"--preview shows augmentations; {group}={value} is none")
    settings = compose([arguments.option, *arguments.overrides], folders)
    cards = [card(settings, group, name, known[name]) for name in names]
    for shown in cards:
        _print(shown)
    if group == "schedule":
        _curve(settings, arguments.plot)
    for shown in cards:
        ui.out.print(f"[bold]{escape(str(shown.path))}[/bold]")
        ui.out.print(shown.yaml, markup=False)
    if arguments.preview:
        _preview(settings, value, arguments.preview)
    return 0


def _print(shown: Card) -> None:
    """An option's headline, and the text and the parameters of what it holds."""
    ui.out.print(f"[bold]{escape(shown.title)}[/bold]  {escape(shown.headline)}\n")
    for part in shown.parts:
        ui.out.print(part.plain + "\n", markup=False)
        for row in part.parameters:
            ui.out.print(f"  {row.key}={row.default}    {row.allowed}", markup=False)
        ui.out.print()


def _preview(settings: Settings, title: str, path: str) -> None:
    """Training images before and after the augmentations, into a file."""
    import torch
    from PIL import Image

    from dlreg.aug.preview import preview
    from dlreg.context import Context
    from dlreg.data.normalize import channel_mean, to_unit
    from dlreg.reg.base import Chain
    from dlreg.run.experiment import load

    dataset = load(settings.data)
    if dataset.train.x.dim() != 4:
        raise UserError(f"--preview shows images; data={settings.data['name']} has none")
    index = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(settings.seed))[:PREVIEWED]
    sample = dataset.train[index]
    chain = Chain({word: build("aug", node) for word, node in settings.aug.items()})
    context = Context(
        settings.seed, torch.device("cpu"), channel_mean(dataset.train.x), dataset.upright, dataset.train.x
    )
    chain.begin("chain", context)
    sheet = preview(chain, to_unit(sample.x), torch.eye(dataset.classes)[sample.y], title.strip("[]"))
    buffer, kind = io.BytesIO(), Image.registered_extensions().get(Path(path).suffix.lower())
    if kind is None:
        raise UserError(f"--preview {path} cannot be written: it must end as a picture does, .png")
    sheet.save(buffer, kind)
    write(Path(path), buffer.getvalue(), "--preview")
    for remark in chain.remarks():
        ui.err.print(remark, markup=False)


def _curve(settings: Settings, plot: str | None) -> None:
    """The multipliers over the run's epochs, on the terminal and, if asked for, in a file."""
    node, epochs = settings.schedule, settings.epochs
    schedule = functools.partial(multiplier, build("schedule", node), warmup=node["warmup"])
    ui.out.print(f"  multiplier of optimizer.lr over {epochs} epochs of {STEPS} updates")
    ui.out.print("\n".join(bars(curve(schedule, epochs, WIDTH)[1], HEIGHT)) + "\n", markup=False)
    if plot:
        buffer = io.BytesIO()
        save_png(buffer, f"schedule={node['name']}", *curve(schedule, epochs, 2000))
        write(Path(plot), buffer.getvalue(), "--plot")
        ui.err.print(f"wrote {plot}")
