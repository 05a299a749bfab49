"""Runs what is missing of a study and writes its page, its picture and the index of docs/results.

scripts/results NAME [budget=laptop] [KEY=VALUE ...]     data.root=DIR data.download=false where data lie offline
scripts/results --index                                  the index alone

What stands in a page below its last line is the reading: written by hand, kept when the page is made anew. It begins with
the judgement that the index shows, in bold: **Agrees.**, **In part.**, **Does not agree.**, **Cannot be told.**, or where
the source says nothing **No claim to compare.**
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlreg.cli import main
from dlreg.commands.words import planned
from dlreg.report.cells import interval, short
from dlreg.report.markdown import markdown, plain
from dlreg.report.metrics import METRICS
from dlreg.report.plot import draw
from dlreg.report.protocol import duration
from dlreg.report.summary import summary
from dlreg.report.table import Table
from dlreg.study.file import studies
from dlreg.study.plan import Plan
from dlreg.study.tabulate import table

PAGES = Path(__file__).resolve().parents[1] / "docs" / "results"
READING = "<!-- The reading, by hand: -->"
UNREAD = "**Not read yet.**"
FACTS = re.compile(r"<!-- facts: (\{.*\}) -->")


def write_page(name: str, words: Sequence[str]) -> None:
    """Run what is missing, and put down what came of it.

    Raises:
        SystemExit: a run failed.
    """
    if status := main(["study", name, *words]):
        raise SystemExit(status)
    plan = planned(name, argparse.Namespace(words=[name, *words], row=[], margin=None), [])
    found = table(plan)
    path = PAGES / f"{name}.md"
    (PAGES / f"{name}.png").write_bytes(draw(found, plan.study.picture, "png"))
    before = path.read_text() if path.exists() else ""
    reading = before.partition(READING)[2].strip() or UNREAD
    path.write_text(f"{page(name, plan, found, words)}\n\n---\n\n{READING}\n\n{reading}\n")


def page(name: str, plan: Plan, found: Table, words: Sequence[str]) -> str:
    """Everything above the reading."""
    study, budget = plan.study, plan.budget
    own = [word for word in words if not word.startswith("data.")]
    facts = {
        "id": study.id,
        "title": study.title,
        "command": " ".join(["dlreg study", name, *own]),
        **figures(plan, found),
    }
    spent = f"{facts['cost']} of training{' and trials' * bool(trials(plan))}"
    lines = markdown(replace(found, title="", text="")).splitlines()
    bare = "\n".join(line for line in lines if not line.startswith("- In words:"))  # which stands above
    parts = [
        f"<!-- facts: {json.dumps(facts, ensure_ascii=False)} -->",
        f"# {study.id}: {study.title}",
        f"**Source.** {prose(study.source)}",
        f"**What it says.** {prose(study.text)}" + f" Published: {prose(study.published)}." * bool(study.published),
        f"**What was done.** {prose(budget.text)} `{facts['command']}`, {spent}, all runs together, on two CPU cores.",
    ]
    if budget.history:
        parts.append("**How the recipe was chosen**, and what had been seen:")
        parts.append("\n".join(f"- {prose(told)}" for told in budget.history))
    if said := summary(found):
        parts.append(f"**What came out.** {plain(said)}")
    parts += [f"![{plain(study.title)}]({name}.png)", bare]
    return "\n\n".join(parts)


def prose(text: str) -> str:
    """A study's own words, in which `...` is code."""
    return re.sub(r"\\`(.+?)\\`", lambda code: "`" + re.sub(r"\\(.)", r"\1", code[1]) + "`", plain(text))


def trials(plan: Plan) -> float:
    """Seconds that went into the choice of settings."""
    return sum(row.seconds_of_trials for row in plan.rows)


def figures(plan: Plan, found: Table) -> dict[str, Any]:
    """What the index shows of a table."""
    compared = [row for row in found.rows if row.difference and len(row.seeds) > 1]
    settled = ("better", "worse", "equivalent", "identical")
    decided = sum(row.difference is not None and row.difference.verdict.startswith(settled) for row in compared)
    runs = [run for row in found.rows for run in row.runs]
    seeds = sorted({len(row.seeds) for row in found.rows})
    return {
        "cost": duration(sum(run.seconds or 0.0 for run in runs) + trials(plan)),
        "decided": f"{decided} of {len(compared)}" if compared else "nothing to decide",
        "seeds": "-".join(map(str, dict.fromkeys([seeds[0], seeds[-1]]))),
        "effect": effect(found),
    }


def effect(found: Table) -> str:
    """The largest gain that is decided, else the largest loss: `L2: -0.22 [-0.38, -0.06] test error %, against none`."""
    told = [
        (d.verdict.startswith("better"), abs(d.stat.mean), row, d.stat)
        for row in found.rows
        if (d := row.difference) and d.stat and d.verdict.startswith(("better", "worse"))
    ]
    if not told:
        return "—"
    *_, row, stat = max(told, key=lambda one: one[:2])
    metric = METRICS[found.metrics[0]]
    size = f"{short(stat, metric.digits, sign=True, spread=False)} {interval(stat, metric.digits, sign=True)}"
    return f"{row.name}: {size} {metric.title}, against {row.against}"


def write_index() -> None:
    """One line per page, from what the pages say."""
    lines = [
        "# Results",
        "Every study as it came out, with the command that makes it again. A page ends with a reading; the rest of it, and "
        "this list, are written by `./scripts/results NAME`. Effect: the largest gain that is decided, with its 95 % interval, "
        "or the largest loss where nothing gains; the largest of many rows flatters itself. Decided: rows whose verdict is "
        "better, worse, equivalent or identical. Time: of training and trials, all runs together, on two CPU cores that other "
        "work shared. Offline data: add `data.root=DIR data.download=false`.",
        "| study | agrees with its source? | effect | rows decided | seeds | time | command |\n|:--|:--|:--|:--|:--|:--|:--|\n"
        + "\n".join(_lines()),
    ]
    (PAGES / "README.md").write_text("\n\n".join(lines) + "\n")


def _lines() -> list[str]:
    found = []
    for path in PAGES.glob("*.md"):
        if facts := FACTS.search(text := path.read_text()):
            said = re.search(r"\*\*(.+?)\.?\*\*", text.partition(READING)[2])
            one = json.loads(facts[1])
            judged = said[1].lower() if said else "not read yet"
            title = f"{one['id']} [{one['title']}]({path.name})"
            cells = [
                title,
                judged,
                plain(one["effect"]),
                one["decided"],
                one["seeds"],
                one["cost"],
                f"`{one['command']}`",
            ]
            line = f"| {' | '.join(cells)} |"
            group, number, variant = re.fullmatch(r"(\D*)(\d*)(.*)", one["id"]).groups()  # T8b after T8, before T9
            found.append(((group, int(number or 0), variant, path.name), line))
    return [line for _, line in sorted(found)]


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        raise SystemExit(__doc__)
    if sys.argv[1] != "--index":
        if sys.argv[1] not in studies():
            raise SystemExit(f"{sys.argv[1]}: there is no such study; known: {', '.join(studies())}")
        given = sys.argv[2:]
        write_page(
            sys.argv[1], given if any(word.startswith("budget=") for word in given) else ["budget=laptop", *given]
        )
    write_index()
