"""A table as data: a data frame, CSV, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dlreg.errors import printable
from dlreg.report.cells import published_metrics
from dlreg.report.label import number
from dlreg.report.table import Table
from dlreg.report.target import Reached
from dlreg.run.result import STATUSES

if TYPE_CHECKING:
    import pandas as pd

_VERDICT = ("verdict", "p", "p_adjusted", "p_equivalent", "detectable", "seeds_needed")
_PARTS = ("mean", "sd", "n", "low", "high")


def frame(table: Table) -> pd.DataFrame:
    """One row for each of the table's, one column for each number: to go on with in a notebook."""
    import pandas as pd  # a third of a second: only when asked for

    flat, trials = [], max((len(row.tuning.tried) for row in table.rows if row.tuning), default=0)
    for row in table.rows:
        values: dict[str, Any] = {key: row.label.get(key, "") for key in table.columns}
        for name in table.metrics:
            values |= {f"{name}_{part}": getattr(row.metrics[name], part, None) for part in _PARTS}
        if table.target is not None:
            reached = Reached.of(row, table.target)
            for name in ("epochs", "seconds"):
                over = reached.stat(getattr(reached, name))
                values |= {f"{name}_to_target_{part}": getattr(over, part, None) for part in _PARTS}
            values |= {"target_reached": len(reached.epochs), "target_runs": reached.runs}
        change = row.difference
        values |= {f"delta_{part}": getattr(change and change.stat, part, None) for part in _PARTS}
        values |= {name: getattr(change, name, None) for name in _VERDICT} | {"against": row.against}
        values |= {"baseline": row.baseline, "best": row.best}
        values |= {status: row.status.get(status, 0) for status in STATUSES}
        for n in range(trials):
            values[f"tuning_expected_best_{n + 1}"] = (
                row.tuning.best[n] if row.tuning and n < len(row.tuning.best) else None
            )
        for name in published_metrics(table):
            of_paper = row.published.get(name)
            values |= {f"published_{name}": getattr(of_paper, "value", None)}
            values |= {f"published_{name}_why_not_comparable": getattr(of_paper, "why_not", None) or ""}
        flat.append(values)
    return pd.DataFrame(flat, columns=None if flat else ["run"]).convert_dtypes()


def to_csv(table: Table) -> str:
    """`frame` as CSV; text that a spreadsheet would run as a formula is disarmed."""
    safe = frame(table).map(lambda value: disarmed(value) if isinstance(value, str) else value)
    return safe.rename(columns=disarmed).to_csv(index=False, lineterminator="\n").rstrip("\n")


def to_json(table: Table) -> str:
    """Everything, every number with its n."""
    rows = [
        {
            "label": row.label,
            "seeds": row.seeds,
            "status": row.status,
            "metrics": {name: value and asdict(value) for name, value in row.metrics.items()},
            "difference": row.difference and asdict(row.difference),
            "against": row.against,
            "baseline": row.baseline,
            "best": row.best,
            "published": {name: asdict(value) for name, value in row.published.items()},
            "note": row.note,
            "target": None if table.target is None else asdict(Reached.of(row, table.target)),
            "runs": [r.run_id for r in row.runs],
        }
        | ({"tuning": row.tuning.as_data()} if row.tuning else {})
        for row in table.rows
    ]
    content: dict[str, Any] = {"title": table.title, "text": table.text, "columns": table.columns, "rows": rows}
    content |= {"by": table.by, "target": table.target}
    content |= {"effects": table.effects} if table.effects else {}
    text = json.dumps(content | {"protocol": table.protocol}, indent=1, allow_nan=False, ensure_ascii=False)
    return "".join(c if printable(c) == c else json.dumps(c)[1:-1] for c in text)


def disarmed(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = printable(text.replace("\r\n", "\n").replace("\r", "\n"))  # a bare carriage return would not be quoted
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and number(text) is None else text
