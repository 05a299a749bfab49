"""A comparison as data: the YAML of a study, checked, and where studies lie. What is run of it: `dlreg.study.plan`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from yaml import YAMLError

from dlreg import durable
from dlreg.config import guard
from dlreg.config.options import conf_dir
from dlreg.errors import UserError, did_you_mean, shown
from dlreg.report.metrics import JUDGED, METRICS, Select
from dlreg.report.protocol import duration
from dlreg.report.table import Kind
from dlreg.run.result import read
from dlreg.study.sampling import Sampler
from dlreg.study.spaces import FIXED, Axis, Space, count


def _once(given: list[str]) -> list[str]:
    try:
        guard.once(given)
    except UserError as error:
        raise ValueError(str(error)) from None
    return given


Overrides = Annotated[list[str], AfterValidator(_once)]
OWN: Literal["own"] = "own"  # the budget of a study that has no other: what its rows and `shared` say
BudgetName = Literal["smoke", "laptop", "paper", "own"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PublishedCell(_Part):
    """A number that a paper prints, in the unit of its column."""

    value: float
    sd: float | None = None
    why_not: str | None = None  # not comparable whatever the budget, because ...


class StudyRow(_Part):
    """One technique: what it changes, and what was published for it.

    A text alone is its overrides and its label; `LABEL: text` names it.
    """

    label: Annotated[str, Field(min_length=1)]
    overrides: Overrides = []
    published: dict[str, PublishedCell] = {}  # metric -> cell
    note: str = ""
    tune: dict[str, Axis] = {}  # key -> its values or its interval; lists alone are a grid
    against: str | None = None  # label of the row that it is compared with, in place of the baseline
    reaches: float | None = None  # what its mean in the first column is to be beyond, in the unit of the column

    @model_validator(mode="before")
    @classmethod
    def _of_words(cls, given: Any) -> Any:
        label = words = given
        if isinstance(given, Mapping) and len(given) == 1 and not given.keys() & cls.model_fields.keys():
            ((label, words),) = given.items()
        return {"label": str(label), "overrides": shlex.split(words)} if isinstance(words, str) else given

    @field_validator("tune")
    @classmethod
    def _tunable(cls, given: Space) -> Space:
        if fixed := [key for key in given if key in FIXED]:
            raise ValueError(f"{fixed[0]} is not a thing to tune")
        return given

    @field_validator("published", mode="before")
    @classmethod
    def _plain_numbers(cls, given: Any) -> Any:
        return {k: v if isinstance(v, Mapping) else {"value": v} for k, v in given.items()}


class Budget(_Part):
    """How much of the original recipe is run."""

    text: str = ""  # what was cut, and what can be expected of it
    overrides: Overrides = []
    seeds: Annotated[list[int], Field(min_length=1)] = [0, 1, 2]
    run_seconds: Annotated[float, Field(gt=0)] | None = None  # of one run, an estimate until runs were measured
    machine: str = "2 CPU cores"
    jobs: Annotated[int, Field(ge=1)] = 2  # what the machine runs at a time
    trials: Annotated[int, Field(ge=1)] | None = None  # in place of the study's
    values: dict[str, Any] = {}  # what $NAME stands for in labels, overrides and notes
    why_not: str | None = None  # published values are not comparable, because ...
    history: list[str] = []  # recipes that were tried, what was seen of them, and why they were changed


class Study(_Part):
    """One comparison."""

    id: str = ""
    title: str  # of a file that has none: its name
    source: str = ""
    text: str = ""
    published: str = ""  # the protocol behind the published column: network, runs, selection
    theory: str = ""  # or the formulas behind it, where no paper prints numbers
    columns: Annotated[list[str], Field(min_length=1)] = ["test_error"]  # the first one is judged
    # Label of the row that differences are taken to, of rows that name no other. Not given: the first, unless rows say what
    # they are compared with or reach. null: rows are read and not compared, as where nothing is random.
    baseline: str | None = None
    margin: Annotated[float, Field(gt=0)] | None = (
        None  # differences below it do not matter, in the first column's unit
    )
    select: Select = "last"
    shared: Overrides = []
    # Of the rows' labels, two columns being "images, method" over "500, dropout". Along numbers `--kind sweep` draws.
    heading: str = "method"
    picture: Kind = "dots"  # what `dlreg plot` draws if nothing else is asked for
    ranked: bool = False  # rows by their first column, and not as they stand in the file
    rows: Annotated[list[StudyRow], Field(min_length=1)]
    tune_seeds: Annotated[list[int], Field(min_length=1)] = [1000]  # of the trials; the first also draws their settings
    trials: Annotated[int, Field(ge=1)] | None = None  # of every row that tunes an interval
    search: Sampler = "sobol"  # where in the intervals
    prune: bool = False  # whether trials that fall behind the others of their row are cut
    budgets: Annotated[dict[BudgetName, Budget], Field(min_length=1)] = {OWN: Budget()}

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, given: list[str]) -> list[str]:
        for name in given:
            if name not in METRICS:
                hint = f"{did_you_mean(name, METRICS)} Allowed: {', '.join(METRICS)}."
                raise ValueError(f"{name} is not a column.{hint}")
        if given[0] not in JUDGED:
            raise ValueError(f"{given[0]} is of all runs of a row together and cannot be judged; begin with another")
        return given


def studies(config_dirs: Sequence[str] = ()) -> dict[str, Path]:
    """Every study on disk by name; the packaged ones come before a user's of the same name."""
    found: dict[str, Path] = {}
    for folder in [conf_dir(), *map(Path, config_dirs)]:
        for path in sorted((folder / "study").glob("*.yaml")):
            if path.is_file():
                found.setdefault(path.stem, path)
    return found


def find(name: str, config_dirs: Sequence[str] = ()) -> Path:
    """The file of a study, given by name or as a path to a YAML file.

    Raises:
        UserError: there is no such study.
    """
    if name.endswith((".yaml", ".yml")):
        if not Path(name).is_file():
            raise UserError(f"{name}: there is no such file")
        return Path(name)
    known = studies(config_dirs)
    if name not in known:
        raise UserError(f"{name}: there is no such study.{did_you_mean(name, known)} Allowed: {', '.join(known)}.")
    return known[name]


def load(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        UserError: the first thing that is wrong with it.
    """
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path))
    except RecursionError:
        raise UserError(f"{path} cannot be read: brackets too deep") from None
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{path} cannot be read: {shown(error, 200)}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} is not a study: a mapping with rows")
    try:
        study = Study.model_validate({"title": path.stem} | tree)
    except ValidationError as error:
        first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")  # a misspelt key first
        more = f" (and {len(others)} more)" if others else ""
        raise UserError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {shown(first['msg'], 300)}{more}") from None
    labels = [row.label for row in study.rows]
    for where, label in [("baseline", study.baseline), *((f"{row.label}: against", row.against) for row in study.rows)]:
        if label is not None and label not in labels:
            raise UserError(f"{path.name}: {where}: no row is called {label!r}.{did_you_mean(label, labels)}")
    alone = "baseline" in study.model_fields_set or any(row.against or row.reaches is not None for row in study.rows)
    if study.baseline is None and not alone:
        study = study.model_copy(update={"baseline": labels[0]})
    if itself := next((row.label for row in study.rows if row.against == row.label), None):
        raise UserError(f"{path.name}: {itself}: against: a row is not compared with itself")
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"{path.name}: rows: {twice[0]!r} stands there twice")
    for row in study.rows:
        for name in row.published:
            if name not in study.columns:
                raise UserError(f"{path.name}: {row.label}: published.{name} is not among the study's columns")
    return study


def cost(study: Study, level: Budget) -> str:
    """`16 runs, about 25 s on 2 CPU cores (--jobs 2)`, as the study states it."""
    most = level.trials or study.trials or 0
    runs = len(study.rows) * len(level.seeds) + sum(count(row.tune, most) for row in study.rows) * len(study.tune_seeds)
    if level.run_seconds is None:
        return f"{runs} runs"
    side = f" (--jobs {level.jobs})" if level.jobs > 1 else ""
    return f"{runs} runs, about {duration(runs * level.run_seconds / level.jobs)} on {level.machine}{side}"


def state(name: str, budget: str, outputs: Path) -> str:
    """`12/40 done`, or nothing if the study was never run here."""
    try:
        noted = durable.read_json(outputs / ".studies" / f"{name}-{budget}.json")
        done = 0
        for run_id in noted["runs"]:
            try:
                result = read(outputs / run_id)
            except ValueError:
                continue
            done += result is not None and result.status == "done"
        return f"{done}/{len(noted['runs']) + noted['unknown']} done"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
