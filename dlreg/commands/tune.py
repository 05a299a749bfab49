"""`dlreg tune`: rows with equal chances. A study from the command line: sweeps make rows, intervals are tuned."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlreg import durable, ui
from dlreg.commands.arguments import Parser
from dlreg.commands.study import carry_out, dry_run
from dlreg.commands.where import add_flags, executor
from dlreg.commands.words import columns_of, seeds_asked, split, tuning_of
from dlreg.config.options import config_dir_flags, user_config_dirs
from dlreg.display import delivered
from dlreg.errors import UserError

if TYPE_CHECKING:
    from dlreg.study.file import Study
    from dlreg.study.plan import Request

TRIALS = 16
SEEDS = [0, 1, 2]
COLUMNS = ["test_error", "val_error"]
TEXT = """Tune every row as often, each on validation, and compare what was chosen on other seeds.

KEY=A,B            a sweep makes rows: reg=none,dropout
KEY=SPACE          is tuned in the rows that have the key: 'reg.dropout.p=interval(0,0.8)',
                   'optimizer.lr=tag(log,interval(1e-3,1))', 'model.depth=int(interval(2,8))',
                   'batch_size=tag(tune,choice(32,64,128))'
KEY=VALUE          any override of `dlreg train`, for every row
trials=16          settings tried of each row; a row that tunes lists alone tries all of them
search=sobol       sobol (no large gaps) | random | tpe (learns from the trials; needs dlreg[tune])
tune_seeds=1000    the seeds of the trials: not those that are reported
prune=true         cut a trial that falls behind the median of those that are finished (default false)
seeds=0,1,2        of the runs that are reported: how many, or which; seeds=auto: more until each row is settled"""


def run(argv: list[str]) -> int:
    """Run what is missing and print the table; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = Parser("tune", TEXT)
    add_flags(parser)
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument(
        "--columns", metavar="A,B", help="of numbers; the first is judged, and its counterpart tuned by"
    )
    given = parser.parse_intermixed_args(rest)
    launch, words = executor(given.words, given, folders)
    from dlreg.study.plan import plan as planned  # torch comes with it

    asked = _asked(words, columns_of(given.columns) if given.columns else COLUMNS, folders)
    plan = planned(asked)
    if given.dry_run:
        dry_run(plan, launch)
        delivered()
        return 0
    kept = plan.outputs / ".studies" / asked.path.name
    _keep(kept, _yaml(plan.study))
    try:
        return carry_out(plan, launch)
    finally:
        again = shlex.join([str(kept), *["seeds=auto"] * bool(plan.looks), *config_dir_flags(folders)])
        ui.err.print(f"a study: dlreg plot {again} --kind tuning; dlreg table {again} --format md", markup=False)


def _asked(words: Sequence[str], columns: Sequence[str], folders: Sequence[str]) -> Request:
    """The request for the study that the words make."""
    from dlreg.study.file import Budget, Study
    from dlreg.study.plan import Request
    from dlreg.study.words import Words, plain

    if strangers := [word for word in words if "=" not in word]:
        raise UserError(f"{strangers[0]}: give KEY=VALUE; a study tunes by itself: dlreg study NAME trials=20")
    own, others = split(words)
    if "budget" in own:
        raise UserError("budget: a study has budgets; here the words say all")
    seeds, looks, overrides = seeds_asked(others)
    said = Words.of(overrides)
    if not said.spaces:
        raise UserError("nothing to tune: give a key an interval, 'optimizer.lr=tag(log,interval(1e-3,1))'")
    rows = said.rows(folders)
    flags = [*config_dir_flags(folders), *["--columns", ",".join(columns)] * (list(columns) != COLUMNS)]
    study = Study(
        title=f"Tuned: {', '.join(said.spaces)}",
        source=shlex.join(["dlreg", "tune", *flags, *words]),
        text="What each row tunes was chosen by trials on other seeds, as many for every row.",
        columns=list(columns),
        baseline=said.baseline(rows),
        shared=[plain(word) for word in said.shared],
        rows=rows,
        budgets={"own": Budget(text="", seeds=seeds or SEEDS)},
        **({"trials": TRIALS} | tuning_of(own)),
    )
    same = _yaml(
        study, {"budgets", "source"}
    )  # with other seeds it is the same study, which knows of its earlier looks
    name = f"tune-{hashlib.sha256(same.encode()).hexdigest()[:10]}.yaml"
    return Request(Path(name), config_dirs=folders, looks=looks, study=study)


def _yaml(study: Study, without: Collection[str] = ()) -> str:
    from omegaconf import OmegaConf

    tree = study.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(without))
    tree["search"] = study.search  # the trials of a file stay what they are when the default changes
    return str(OmegaConf.to_yaml(OmegaConf.create(tree)))


def _keep(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_atomic(path, text.encode())
    except OSError as error:
        raise UserError(f"outputs={path.parent.parent} cannot be written: {error.strerror or error}") from None
