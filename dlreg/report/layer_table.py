"""The layers of a run as a table of its page: over the epochs where `log=layers` measured them, else as they are at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dlreg import durable
from dlreg.log.layers import FILE
from dlreg.report.frame import ENVIRONMENT
from dlreg.report.inside import one_model
from dlreg.run.layers import BATCH, Layer, layers
from dlreg.run.reopen import Opened

MEASURED = (
    f"on one batch of at most {BATCH} training samples, in evaluation mode. Activation: root mean square of the outputs. "
    "Dead: ReLU units that are zero for every sample. Weight, gradient: Euclidean norms, the gradient's of the mean loss "
    "without penalties."
)
OVER_EPOCHS = (
    f"After the first, the middle and the last epoch, {MEASURED} Update / weight: the norm of what one step of training, with "
    "all that acts on it, changes of the weight, over the weight's own; about 0.001 is usual."
)
AT_THE_END = (
    f"With the final weights, {MEASURED} Gradient / weight, times the learning rate, is what a step of SGD would change. "
    "log=layers measures other epochs too, and what a step really changes."
)


def layer_table(folder: Path | None, opened: Opened | None) -> tuple[str, str]:
    """What the numbers are, and the table as HTML; of a committee's models the first. Empty if nothing is known."""
    if measured := _measured(folder):
        rows = [(i, epoch, layer) for epoch, found in measured.items() for i, layer in enumerate(found)]
        rows.sort(key=lambda row: row[:2])
        shown = [(x.name, (epoch, *_numbers(x), x.update_to_weight)) for _, epoch, x in rows]
        return OVER_EPOCHS, _TABLE.render(names=(*_HEAD[:1], "epoch", *_HEAD[1:], "update / weight"), rows=shown)
    if opened is None:
        return "", ""
    few = opened.data.train[torch.arange(min(BATCH, len(opened.data.train)))]
    found = layers(one_model(opened.model), few, opened.criterion)
    shown = [(x.name, (*_numbers(x), x.gradient_to_weight)) for x in found]
    return AT_THE_END, _TABLE.render(names=(*_HEAD, "gradient / weight"), rows=shown)


def _numbers(layer: Layer) -> tuple[float | None, ...]:
    return layer.activation, layer.dead and 100 * layer.dead, layer.weight, layer.gradient


def _measured(folder: Path | None) -> dict[int, list[Layer]]:
    """Epoch -> layers, of three epochs of the first fit; empty if they were not measured, or the file is damaged."""
    try:
        rows: Sequence[Any] = durable.read_json((folder or Path()) / FILE)["epochs"]
    except (OSError, ValueError):
        return {}
    found = {row["epoch"]: row["layers"] for row in rows if row["fit"] == 1}
    epochs = sorted(found)
    chosen = sorted({epochs[i] for i in (0, (len(epochs) - 1) // 2, -1)}) if epochs else []
    return {epoch: [Layer(**layer) for layer in found[epoch]] for epoch in chosen}


_HEAD = ("layer", "activation", "dead %", "weight", "gradient")
_TABLE = ENVIRONMENT.from_string(
    """<div class="wide" tabindex="0" role="region" aria-label="layers"><table>
<thead><tr>{% for name in names %}
<th scope="col"{% if loop.first %} class="word"{% endif %}><button type="button">{{ name }}</button></th>
{% endfor %}</tr></thead>
<tbody>{% for name, values in rows %}
<tr><td class="word">{{ name }}</td>{% for x in values %}<td>{{ "–" if x is none else "%.3g"|format(x) }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>"""
)
