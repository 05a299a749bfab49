"""A table as one self-contained HTML file: sortable columns, learning curves, the protocol. It loads nothing."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jinja2 import Environment, StrictUndefined

from dlreg.report.cells import AGAINST, DELTA_INTERVAL, INTERVAL, cells, footer, is_bold, published_title
from dlreg.report.metrics import METRICS
from dlreg.report.table import Row, Table, curve

# Okabe and Ito's eight colours, which the colour-blind can tell apart, minus yellow, plus line patterns when they run out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("", "6 3", "2 2", "8 3 2 3")
CURVES = {
    "train_loss": "training loss",
    "train_error": "training error %",
    "val_error": "validation error %",
    "train_mse": "training MSE",
    "val_mse": "validation MSE",
}
WIDTH, HEIGHT, LEFT, BOTTOM = 360, 220, 46, 30


def page(table: Table) -> str:
    """The file. Every name that a user or a folder can choose goes through the template's escaping."""
    rows = [cells(table, row) for row in table.rows]
    words = {*table.columns, "verdict", AGAINST, "runs", "run"}
    return _TEMPLATE.render(
        title=table.title or "dlreg",
        text=table.text,
        names=list(rows[0]) if rows else ["run"],
        words=words,
        rows=[[(name, text, _sort_key(table, row, name), is_bold(table, row, name)) for name, text in shown.items()]
              for row, shown in zip(table.rows, rows, strict=True)],
        charts=[chart for key, label in CURVES.items() if (chart := _chart(table.rows, key, label))],
        legend=[(row.name, *_pen(i)) for i, row in enumerate(table.rows) if row.runs],
        footer=footer(table),
        style=_STYLE,
        script=_SCRIPT,
        policy=f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'",
    )  # fmt: skip


def _sort_key(table: Table, row: Row, name: str) -> float | None:
    """The number behind a cell; None sorts by its text."""
    values = {METRICS[metric].title: getattr(row.metrics[metric], "mean", None) for metric in table.metrics}
    values[INTERVAL] = getattr(row.metrics[table.metrics[0]], "low", None)
    change = row.difference.stat if row.difference else None
    values["Δ"] = change.mean if change else 0.0 if row.baseline else None
    values[DELTA_INTERVAL] = change.low if change and row.difference and row.difference.judged else None
    values |= {published_title(table, metric): value.value for metric, value in row.published.items()}
    return values.get(name)


def _chart(rows: list[Row], key: str, label: str) -> dict[str, Any] | None:
    """Mean over seeds against the epoch, one line for each row, in the chart's own coordinates."""
    curves = [(i, [(e, s.mean) for e, s in curve(row.runs, key)]) for i, row in enumerate(rows)]
    points = [point for _, line in curves for point in line]
    if not points:
        return None
    first, last = min(e for e, _ in points), max(e for e, _ in points)
    low, high = min(v for _, v in points), max(v for _, v in points)

    def place(epoch: float, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * (epoch - first) / max(last - first, 1)
        y = 8 + (HEIGHT - BOTTOM - 8) * (high - value) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    # The first lines are the widest: one that lies on another does not hide it.
    widths = [1.4 + 2.8 * (len(rows) - 1 - i) / max(len(rows) - 1, 1) for i in range(len(rows))]
    lines = [(" ".join(place(*point) for point in line), *_pen(i), f"{widths[i]:.1f}") for i, line in curves if line]
    return {"label": label, "lines": lines, "first": first, "last": last, "low": f"{low:.3g}", "high": f"{high:.3g}"}


def _pen(i: int) -> tuple[str, str]:
    return COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd }
th { border-bottom: 2px solid #111 } th button { all: unset; cursor: pointer; font-weight: bold }
th button:focus-visible { outline: 2px solid #0072B2 }
.word { text-align: left; white-space: normal } .best { font-weight: bold }
.wide { overflow-x: auto } figure { display: inline-block; margin: 0 1rem 1rem 0 } figcaption { text-align: center }
svg text { font: 11px system-ui, sans-serif }
dt { font-weight: bold; float: left; margin-right: .5em } dd { margin: 0 0 .35rem }
.legend { list-style: none; padding: 0 } .legend li { display: inline-block; margin-right: 1.2rem }
.legend svg { vertical-align: middle }
@media print { body { margin: 0; max-width: none } }
"""

_SCRIPT = """
for (const button of document.querySelectorAll("th button")) button.onclick = () => {
  const th = button.parentNode, body = th.closest("table").tBodies[0], i = th.cellIndex;
  const up = th.getAttribute("aria-sort") !== "ascending";
  for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const text = row => row.cells[i].dataset.key ?? row.cells[i].textContent;
  const key = row => text(row) === "" || isNaN(text(row)) ? text(row) : Number(text(row));
  const order = (a, b) => typeof a !== typeof b ? (typeof a === "number" ? -1 : 1)
    : typeof a === "number" ? a - b : a.localeCompare(b);
  [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach(row => body.append(row));
};
"""

_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if text %}
<p>{{ text }}</p>
{% endif %}
<div class="wide">
<table>
<thead><tr>
{% for name in names %}
<th{% if name in words %} class="word"{% endif %} scope="col"><button type="button">{{ name }}</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for shown in rows %}
<tr>
{% for name, text, key, bold in shown %}
<td{% if name in words %} class="word"{% elif bold %} class="best"{% endif %}\
{% if key is not none %} data-key="{{ '%.6g' % key }}"{% endif %}>{{ text }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if charts %}
<h2>Learning curves (mean over seeds)</h2>
<ul class="legend">
{% for name, colour, dash in legend %}
<li><svg width="28" height="10"><line x1="0" y1="5" x2="28" y2="5" stroke="{{ colour }}" stroke-width="2" \
stroke-dasharray="{{ dash }}"/></svg> {{ name }}</li>
{% endfor %}
</ul>
{% for chart in charts %}
<figure>
<svg width="360" height="220" viewBox="0 0 360 220" role="img" aria-label="{{ chart.label }} against the epoch">
<path d="M46 8V190H352" fill="none" stroke="#999"/>
<text x="42" y="14" text-anchor="end">{{ chart.high }}</text><text x="42" y="190" text-anchor="end">{{ chart.low }}</text>
<text x="46" y="205">{{ chart.first }}</text><text x="352" y="205" text-anchor="end">{{ chart.last }}</text>
<text x="199" y="216" text-anchor="middle">epoch</text>
{% for points, colour, dash, width in chart.lines %}
<polyline points="{{ points }}" fill="none" stroke="{{ colour }}" stroke-width="{{ width }}" stroke-dasharray="{{ dash }}"/>
{% endfor %}
</svg>
<figcaption>{{ chart.label }}</figcaption>
</figure>
{% endfor %}
{% endif %}
<h2>Protocol</h2>
<dl>
{% for name, text in footer %}
<dt>{{ name }}</dt><dd>{{ text }}</dd>
{% endfor %}
</dl>
<script>{{ script|safe }}</script>
</body>
</html>"""
)
