"""`dlreg tune`: rows with equal chances. A study from the command line: sweeps make rows, intervals are tuned."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlreg import durable, ui
from dlreg.commands.arguments import Parser, columns_of, seeds_of, split, tuning_of
from dlreg.commands.study import carry_out, dry_run, runner_parser
from dlreg.config.options import user_config_dirs
from dlreg.display import delivered
from dlreg.errors import UserError
from dlreg.study import workers

if TYPE_CHECKING:
    from dlreg.study.file import Study
    from dlreg.study.plan import Plan

DEFAULTS = {"trials": 16, "search": "random", "tune_seeds": [1000]}
SEEDS = [0, 1, 2]
TEXT = """Tune every row as often, each on validation, and compare what was chosen on other seeds.

KEY=A,B            a sweep makes rows: reg=none,dropout
KEY=SPACE          is tuned in the rows that have the key: 'reg.dropout.p=interval(0,0.8)',
                   'optimizer.lr=tag(log,interval(1e-3,1))', 'model.depth=int(interval(2,8))',
                   'batch_size=tag(tune,choice(32,64,128))'
KEY=VALUE          any override of `dlreg train`, for every row
trials=16          settings tried of each row; a row that tunes lists alone tries all of them
search=random      random | sobol (no large gaps) | tpe (learns from the trials; needs dlreg[tune])
tune_seeds=1000    the seeds of the trials: not those that are reported
seeds=0,1,2        of the runs that are reported: how many, or which"""


def run(argv: list[str]) -> int:
    """Run what is missing and print the table; returns the exit status."""
    folders, rest = user_config_dirs(argv)
    parser = runner_parser(Parser("tune", TEXT))
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE")
    parser.add_argument(
        "--columns", metavar="A,B", help="of numbers; the first is judged, and its counterpart tuned by"
    )
    given = parser.parse_intermixed_args(rest)
    if given.jobs > 1 and not given.dry_run:
        workers.warm()
    study = _study(given.words, columns_of(given.columns) if given.columns else ["test_error", "val_error"], folders)
    text = _yaml(study)
    name = f"tune-{hashlib.sha256(text.encode()).hexdigest()[:10]}.yaml"
    plan = _planned(study, name, folders)
    if given.dry_run:
        dry_run(plan, given.jobs)
        delivered()
        return 0
    kept = plan.outputs / ".studies" / name
    _keep(kept, text)
    try:
        return carry_out(plan, given.jobs)
    finally:
        ui.err.print(
            f"a study in {kept}: dlreg plot {kept} --kind tuning; dlreg table {kept} --format md", markup=False
        )


def _study(words: Sequence[str], columns: Sequence[str], folders: Sequence[str]) -> Study:
    from dlreg.study.file import Budget, Study
    from dlreg.study.words import Words, plain

    if strangers := [word for word in words if "=" not in word]:
        raise UserError(f"{strangers[0]}: give KEY=VALUE; a study tunes by itself: dlreg study NAME trials=20")
    own, overrides = split(words)
    if "budget" in own:
        raise UserError("budget: a study has budgets; here the words say all")
    said = Words.of(overrides)
    if not said.spaces:
        raise UserError("nothing to tune: give a key an interval, 'optimizer.lr=tag(log,interval(1e-3,1))'")
    rows = said.rows(folders)
    budget = Budget(text="", seeds=seeds_of(own["seeds"]) if "seeds" in own else SEEDS)
    return Study(
        title=f"Tuned: {', '.join(said.spaces)}",
        source=shlex.join(["dlreg", "tune", *words]),
        text="What each row tunes was chosen by trials on other seeds, as many for every row.",
        columns=list(columns),
        baseline=said.baseline(rows),
        shared=[plain(word) for word in said.shared],
        rows=rows,
        budgets={"own": budget},
        **(DEFAULTS | tuning_of(own)),  # type: ignore[arg-type]
    )


def _planned(study: Study, name: str, folders: Sequence[str]) -> Plan:
    from dlreg.study.plan import Request, plan

    return plan(Request(Path(name), study=study, config_dirs=folders))


def _yaml(study: Study) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(study.model_dump(mode="json", by_alias=True, exclude_defaults=True)))


def _keep(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_atomic(path, text.encode())
    except OSError as error:
        raise UserError(f"outputs={path.parent.parent} cannot be written: {error.strerror or error}") from None
