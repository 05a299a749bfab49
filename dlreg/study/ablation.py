"""One recipe -> the study that takes it apart: all of its words, all but each, none, none plus each, or every combination."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from hydra.core.override_parser.overrides_parser import OverridesParser

from dlreg.config import guard
from dlreg.config.compose import compose
from dlreg.config.schema import GROUPS
from dlreg.errors import UserError, did_you_mean, shown
from dlreg.study.file import Budget, Study, StudyRow
from dlreg.study.plan import Plan

SETTING = ("data", "model", "optimizer")  # what a recipe is tried on: taken apart only where `words=` says so
MOST_WORDS = 6  # of a factorial: 64 rows
On = frozenset[str]  # the words of a row, by name


@dataclass(frozen=True)
class Word:
    """An option that can be left out. For a group of one option that brings back what runs when nothing is said of it."""

    group: str
    option: str
    name: str  # in labels: the option, or `group=option` where two groups have one of that name

    @property
    def inside(self) -> str:
        """How the keys of its own values begin: they come and go with it."""
        return f"{self.group}.{self.option}." if GROUPS[self.group].stack else f"{self.group}."


@dataclass(frozen=True)
class Recipe:
    """Overrides, and those of their options that are the words."""

    overrides: tuple[str, ...]
    words: tuple[Word, ...]

    @property
    def names(self) -> list[str]:
        """Of the words, in the order in which they were typed."""
        return [word.name for word in self.words]

    def without(self, off: Collection[Word]) -> list[str]:
        """The overrides that are left when these words, and the values inside them, are taken out."""
        left = []
        for text in self.overrides:
            key = text.split("=", 1)[0]
            if any(key.startswith(word.inside) for word in off):
                continue
            out = {word.option for word in off if word.group == key}
            if not out:
                left.append(text)
            elif kept := [option for option in _options(text) if option not in out]:
                left.append(f"{key}=[{','.join(kept)}]")
        return left

    def with_only(self, on: On) -> list[str]:
        """The overrides of a row."""
        return self.without([word for word in self.words if word.name not in on])


def recipe(overrides: Sequence[str], named: str | None = None, config_dirs: Sequence[str] = ()) -> Recipe:
    """The recipe, checked as one run would be. Its words are the options of `reg` and `aug`, and a `schedule`, `norm` or
    `init` that differs from what runs without it; or else those that `named` lists, options or groups, comma-separated.

    Raises:
        UserError: it does not compose, there is nothing to leave out, or `named` lists what was not chosen.
    """
    compose(overrides, config_dirs)
    found = [
        Word(group, option, option)
        for text in overrides if (group := text.split("=", 1)[0]) in GROUPS and group != "data"
        for option in _options(text)
    ]  # fmt: skip
    acting = [word for word in found if GROUPS[word.group].stack or _acts(word, overrides, config_dirs)]
    chosen = [w for w in acting if w.group not in SETTING] if named is None else _named(named, acting)
    if not chosen:
        raise UserError(
            "there is nothing to leave out: give reg=[...], aug=[...], schedule=, norm= or init=, or words=optimizer"
        )
    options = [word.option for word in chosen]
    clear = [replace(w, name=f"{w.group}={w.option}") if options.count(w.option) > 1 else w for w in chosen]
    return Recipe(tuple(overrides), tuple(clear))


def rows(names: Sequence[str], factorial: bool = False) -> list[On]:
    """Which words are on in each row, every combination once: with two words, all but one is none plus the other."""
    everything, nothing = frozenset(names), frozenset[str]()
    found = [everything, *(everything - {n} for n in names), nothing, *(frozenset({n}) for n in names)]
    if factorial:
        found += [frozenset(some) for size in range(len(names) + 1) for some in combinations(names, size)]
    return list(dict.fromkeys(found))


def label(on: On, names: Sequence[str]) -> str:
    """`all`, `all but dropout`, `none`, `none plus dropout`, `dropout + l2`."""
    there, off = [n for n in names if n in on], [n for n in names if n not in on]
    if not off or not there:
        return "none" if off else "all"
    parts = [f"all but {off[0]}"] * (len(off) == 1) + [f"none plus {there[0]}"] * (len(there) == 1)
    return " = ".join(parts) or " + ".join(there)


def study(of: Recipe, factorial: bool = False) -> Study:
    """A study like any other. Rows that lack one word, and *none*, are compared with *all*, those of one word with *none*.

    Raises:
        UserError: a factorial of too many words.
    """
    names = of.names
    if factorial and len(names) > MOST_WORDS:
        raise UserError(
            f"--factorial: {len(names)} words are {2 ** len(names)} rows, each with every seed; at most {MOST_WORDS} words "
            f"({2**MOST_WORDS} rows): choose them with words={','.join(names[:2])},..."
        )
    made = [
        StudyRow(
            label=label(on, names),
            overrides=[word.replace("$", "$$") for word in of.with_only(on)],  # a study would put its values in
            against=_against(on, names),
        )
        for on in rows(names, factorial)
    ]
    budget = Budget(text="", seeds=[0, 1, 2])
    title = f"Ablation of {', '.join(names)}"
    return Study(title=title, source="", text="", rows=made, budgets={"smoke": budget})


def turned(planned: Plan, names: Sequence[str]) -> Plan | None:
    """The same runs, rows of one word against *none*: where one or two words are all, those rows lack one word as well."""
    if len(names) > 2:
        return None
    none = frozenset[str]()
    rows_ = []
    for row, on in zip(planned.rows, rows(names), strict=True):
        against = label(none, names) if len(on) == 1 else None
        rows_.append(replace(row, row=row.row.model_copy(update={"against": against})))
    return replace(planned, rows=rows_)


def _against(on: On, names: Sequence[str]) -> str | None:
    if len(on) == len(names):
        return None
    return "none" if len(on) == 1 < len(names) - 1 else "all" if len(on) in (0, len(names) - 1) else None


def _options(text: str) -> list[str]:
    """The options that an override chooses."""
    value = OverridesParser.create().parse_override(text).value()
    given = value if isinstance(value, list) else [value]
    return [str(option) for option in given if option not in (None, "none")]


def _acts(word: Word, overrides: Sequence[str], config_dirs: Sequence[str]) -> bool:
    """Whether the choice of a group is another one than what runs without it."""
    left = compose(Recipe(tuple(overrides), ()).without([word]), config_dirs)
    return bool(getattr(left, word.group)["name"] != word.option)


def _named(text: str, acting: Sequence[Word]) -> list[Word]:
    allowed = list(dict.fromkeys(name for word in acting for name in (word.group, word.option)))
    asked = text.strip("[]").split(",")
    guard.once([f"{name}=" for name in asked])
    for name in asked:
        if name not in allowed:
            hint = did_you_mean(name, allowed) or f" Allowed: {', '.join(allowed) or 'nothing'}."
            raise UserError(f"words={shown(text)}: {shown(name)!r} is not chosen here, or runs anyway.{hint}")
    return [word for word in acting if {word.group, word.option} & set(asked)]
