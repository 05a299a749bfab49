"""The note that a study leaves beside its runs: how far it is, and at which seeds it was tabulated as a whole.

`{runs, unknown, tabulated: {rows: [[0, 1, 2], [0, 1, 2, 3, 4]]}}`; rows: a digest of what the rows are, without seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlreg import durable
from dlreg.errors import UserError
from dlreg.study.cells import Cell
from dlreg.study.plan import Plan


def record(planned: Plan, wanted: Sequence[Cell]) -> None:
    """Note the runs, from which `dlreg study` tells how far it is, and the seeds, if every row has them.

    Raises:
        UserError: the folder cannot be written.
    """
    path = _path(planned)
    runs = [cell.experiment.run_id for cell in [*planned.trial_cells, *wanted]]
    before = _read(path).get("tabulated")
    tabulated = dict(before) if isinstance(before, dict) else {}
    if not planned.unknown and all(cell.experiment.finished() for cell in wanted):
        looks = [*earlier(planned), *_seeds(planned, wanted)]
        tabulated[_rows(planned)] = [seeds for i, seeds in enumerate(looks) if seeds not in looks[:i]]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(path, {"runs": runs, "unknown": planned.unknown, "tabulated": tabulated})
    except OSError as error:
        raise UserError(f"outputs={path.parents[1]} cannot be written: {error.strerror or error}") from None


def earlier(planned: Plan) -> list[list[int]]:
    """The seeds at which these rows were tabulated as a whole before, as far as the note knows."""
    tabulated = _read(_path(planned)).get("tabulated")
    found = tabulated.get(_rows(planned), []) if isinstance(tabulated, dict) and not planned.unknown else []
    return [seeds for seeds in found if isinstance(seeds, list)] if isinstance(found, list) else []


def _seeds(planned: Plan, wanted: Sequence[Cell]) -> list[list[int]]:
    """Of the looks that are over: one, or where seeds are added those so far."""
    if planned.looks is None:
        return [planned.seeds]
    most = max(cell.experiment.settings.seed for cell in wanted) + 1
    return [list(range(n)) for n in planned.looks.counts if n <= most]


def _path(planned: Plan) -> Path:
    return planned.outputs / ".studies" / f"{planned.name}-{planned.budget_name}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows(planned: Plan) -> str:
    ids = sorted(row.cells[0].experiment.with_seed(0).run_id for row in planned.rows)
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:10]
