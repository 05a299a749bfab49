"""What stands on every page: `pages` yields (file, template, values), from cards, studies and the repository's texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docs_text
from docs_pictures import pictured

from dlreg.config.build import build
from dlreg.config.card import Card, card
from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.config.schema import GROUPS, Settings
from dlreg.errors import UserError
from dlreg.report.metrics import METRICS
from dlreg.run.machine import resolve
from dlreg.run.parts import load, make_data
from dlreg.run.rehearse import rehearse
from dlreg.run.result import NOT_IDENTITY
from dlreg.study import file as study_file
from dlreg.study.file import Study
from dlreg.study.plan import filled

Page = tuple[str, str, dict[str, Any]]
COMPANY: list[list[str]] = [  # what an option may need
    [],
    ["batch_size=full"],
    ["batch_size=full", "model=linear"],
    ["data.labelled=100"],
    ["loss=mse"],
    ["data=sine", "loss=mse"],
    ["data=sine", "model=polynomial", "loss=mse", "batch_size=full"],
]
FIXED = ("index", "start", "technique", "table", "cluster")  # pages of docs/site


@dataclass
class Catalogue:
    """Everything that pages are made of."""

    root: Path
    plain: Settings  # when nothing is chosen
    settings: dict[str, Settings] = field(default_factory=dict)  # of each option alone, by `reg=dropout`
    cards: dict[str, Card] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)
    uses: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # `reg=dropout` -> (study, where)

    @classmethod
    def of(cls, root: Path) -> Catalogue:
        """Every option and every study that the repository holds."""
        made = cls(root, compose([]))
        for group in GROUPS:
            for name, path in options(group).items():
                made.settings[f"{group}={name}"] = settings = compose([f"{group}={name}"])
                made.cards[f"{group}={name}"] = card(settings, group, name, path)
        made.studies = {name: study_file.load(path) for name, path in study_file.studies().items()}
        for name, study in made.studies.items():
            for option, where in used(study):
                made.uses.setdefault(option, []).append((name, where))
        return made


def pages(catalogue: Catalogue) -> Iterator[Page]:
    """Every page of the site.

    Raises:
        ValueError: an option's card lacks something, or a formula cannot be read.
    """
    for name in FIXED:
        yield f"{name}.md", f"{name}.md", fixed(catalogue)
    for group, entry in GROUPS.items():
        cards = [shown for shown in catalogue.cards.values() if shown.group == group]
        yield f"{group}/index.md", "group.md", {"group": group, "stack": entry.stack, "cards": cards, "text": docs_text}
        for shown in cards:
            yield f"{group}/{shown.name}.md", "option.md", option(catalogue, shown)
    yield "studies/index.md", "studies.md", fixed(catalogue)
    for name in catalogue.studies:
        yield f"studies/{name}.md", "study.md", study(catalogue, name)


def fixed(catalogue: Catalogue) -> dict[str, Any]:
    """Values of the pages that are written by hand: sections of the repository's own texts."""

    def section(path: str, heading: str, depth: int = 0) -> str:
        text = docs_text.section(catalogue.root / path, heading)
        return docs_text.relinked(text, str(Path(path).parent), links(catalogue), depth)

    return {"section": section, "groups": GROUPS, "studies": catalogue.studies, "cards": catalogue.cards.values(),
            "metrics": METRICS}  # fmt: skip


def links(catalogue: Catalogue) -> dict[str, str]:
    """Files of the repository that have a page."""
    found = {
        "CONTRIBUTING.md": "technique.md",
        "docs/site/technique.md": "technique.md",
        "docs/results/README.md": "studies/index.md",
        "conf/study": "studies/index.md",
    }
    return found | {f"docs/results/{name}.md": f"studies/{name}.md" for name in catalogue.studies}


def option(catalogue: Catalogue, shown: Card) -> dict[str, Any]:
    """The page of one option."""
    if shown.lacking:
        raise ValueError(f"{shown.title}: the card lacks {', '.join(shown.lacking)}")
    where = [(name, catalogue.studies[name], rows) for name, rows in grouped(catalogue.uses.get(shown.title, []))]
    file = shown.path.relative_to(catalogue.root).as_posix()
    return {"card": shown, "commands": commands(catalogue, shown), "picture": pictured(shown), "uses": where,
            "file": file, "text": docs_text}  # fmt: skip


def commands(catalogue: Catalogue, shown: Card) -> list[str]:
    """What to type: the option alone, and beside what stands there when nothing is chosen."""
    default = "none" if GROUPS[shown.group].stack else getattr(catalogue.plain, shown.group)["name"]
    made = catalogue.settings[shown.title]
    if shown.group in NOT_IDENTITY:  # nothing to compare, and its package is perhaps not there
        return [f"dlreg train {shown.title}"]
    if shown.group == "data" and not getattr(
        build("data", made.data).func, "generated", False
    ):  # perhaps not there yet
        return [f"dlreg train {shown.title}"]
    fitting = [words for words in COMPANY if not any(word.startswith(f"{shown.group}=") for word in words)]
    company = next(words for words in fitting if works(compose([shown.title, *words]) if words else made))
    alone = " ".join(["dlreg train", shown.title, *company])
    if shown.name == default or shown.group == "data":
        return [alone]
    return [alone, " ".join(["dlreg train -m", f"{shown.group}={default},{shown.name}", *company, "seed=0,1,2"])]


def works(settings: Settings) -> bool:
    """Whether dlreg would begin this run: one update, on two samples, is made and thrown away."""
    resolved = resolve(settings)
    try:
        rehearse(resolved, make_data(resolved, load(resolved.data)))
    except UserError:
        return False
    return True


def study(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """The page of one study."""
    found = catalogue.studies[name]
    result = catalogue.root / "docs" / "results" / f"{name}.md"
    measured = ""
    if result.is_file():  # without its heading and the text of the study, which the page has
        body = result.read_text(encoding="utf-8")
        measured = docs_text.relinked(body[body.index("\n|") :].strip(), "docs/results", links(catalogue), 1)
    picture = result.with_suffix(".png")
    named_ = list(dict.fromkeys(option for option, _ in used(found)))
    return {"name": name, "study": found, "measured": measured, "cost": study_file.cost, "metrics": METRICS,
            "picture": f"../../../docs/results/{picture.name}" if picture.is_file() else "",
            "options": [o for o in named_ if o in catalogue.cards], "text": docs_text}  # fmt: skip


def used(found: Study) -> Iterator[tuple[str, str]]:
    """`(reg=dropout, "Dropout alone")`: the options that a study names, and the row or budget that does."""
    places = [("every row", found.shared)]
    places += [
        (row.label, [*row.overrides, *(f"{k}={v}" for k, vs in row.tune.items() if isinstance(vs, list) for v in vs)])
        for row in found.rows
    ]
    places += [(f"budget {name}", level.overrides) for name, level in found.budgets.items()]
    for level in found.budgets.values():
        for where, words in places:
            for word in words:
                if "$" not in word or all(f"${key}" not in word for key in level.values):
                    yield from ((o, where) for o in chosen(word))
                else:
                    yield from ((o, where) for o in chosen(filled(word, level)))


def chosen(override: str) -> list[str]:
    """`reg=[l2,l1_late]` chooses `reg=l2` and `reg=l1_late`; `reg.l2.alpha=1e-4` chooses nothing."""
    key, _, value = override.partition("=")
    if key not in GROUPS:
        return []
    return [f"{key}={name.strip()}" for name in value.strip("[]").split(",")]


def grouped(uses: list[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """`(study, the rows and budgets of it)`, each once."""
    found: Mapping[str, dict[str, None]] = {}
    for name, where in uses:
        found.setdefault(name, {})[where] = None  # type: ignore[attr-defined]
    return [(name, list(rows)) for name, rows in found.items()]
