"""A table as one self-contained HTML file: sortable columns, learning curves, the protocol. It loads nothing."""

from __future__ import annotations

from markupsafe import Markup

from dlreg.report.cells import AGAINST, DELTA_INTERVAL, INTERVAL, cells, footer, is_bold, published_title
from dlreg.report.frame import ENVIRONMENT, framed
from dlreg.report.metrics import METRICS
from dlreg.report.svg import Chart, dash, pen_class
from dlreg.report.table import Row, Table, curve
from dlreg.report.target import Reached, titles

CURVES = {
    "train_loss": "training loss",
    "train_error": "training error %",
    "val_error": "validation error %",
    "train_mse": "training MSE",
    "val_mse": "validation MSE",
}


def page(table: Table) -> str:
    """The file. Every name that a user or a folder can choose goes through the templates' escaping."""
    return framed(table.title or "dlreg", body(table))


def body(table: Table) -> str:
    """What the page shows below its title."""
    charts = [(label, chart) for key, label in CURVES.items() if (chart := _chart(table.rows, key, label))]
    legend = [(row.name, pen_class(i), dash(i)) for i, row in enumerate(table.rows) if row.runs]
    protocol = "<h2>Protocol</h2>\n" + _footer(table) if table.protocol else ""
    return _grid(table) + _CURVES.render(charts=charts, legend=legend) + protocol


def fragment(table: Table) -> str:
    """The table with its protocol folded up, for a page of somebody else's: a notebook's."""
    return f"{_grid(table)}<details><summary>Protocol</summary>{_footer(table)}</details>"


def _footer(table: Table) -> str:
    return _PROTOCOL.render(footer=footer(table))


def _grid(table: Table) -> str:
    rows = [cells(table, row) for row in table.rows]
    words = {*table.columns, "verdict", AGAINST, "runs", "run"}
    return _GRID.render(
        text=table.text,
        names=list(rows[0]) if rows else ["run"],
        words=words,
        rows=[
            (table.begins(i), [(name, text, _sort_key(table, row, name), is_bold(table, row, name))
                               for name, text in shown.items()])
            for i, (row, shown) in enumerate(zip(table.rows, rows, strict=True))
        ],
    )  # fmt: skip


def _sort_key(table: Table, row: Row, name: str) -> float | None:
    """The number behind a cell; None sorts by its text."""
    values = {METRICS[metric].title: getattr(row.metrics[metric], "mean", None) for metric in table.metrics}
    values[INTERVAL] = getattr(row.metrics[table.metrics[0]], "low", None)
    change = row.difference.stat if row.difference else None
    values["Δ"] = change.mean if change else 0.0 if row.baseline else None
    values[DELTA_INTERVAL] = change.low if change and row.difference and row.difference.judged else None
    if table.target is not None:
        reached = Reached.of(row, table.target)
        means = {name: reached.stat(getattr(reached, name)) for name in titles(table.target)}
        values |= {title: getattr(means[name], "mean", None) for name, title in titles(table.target).items()}
    values |= {published_title(table, metric): value.value for metric, value in row.published.items()}
    return values.get(name)


def _chart(rows: list[Row], key: str, label: str) -> Markup | None:
    """Mean over seeds against the epoch, one line for each row."""
    curves = [(i, [(float(e), s.mean) for e, s in curve(row.runs, key)]) for i, row in enumerate(rows)]
    points = [point for _, line in curves for point in line]
    if not points:
        return None
    epochs, values = zip(*points, strict=True)
    chart = Chart(f"{label} against the epoch", (min(epochs), max(epochs)), (min(values), max(values)), ("epoch", ""))
    for i, line in curves:
        if line:  # the first lines are the widest: one that lies on another does not hide it
            chart.line(line, i, 1.4 + 2.8 * (len(rows) - 1 - i) / max(len(rows) - 1, 1))
    return chart.svg()


_GRID = ENVIRONMENT.from_string(
    """{% if text %}
<p>{{ text }}</p>
{% endif %}
<div class="wide" tabindex="0" role="region" aria-label="the table">
<table>
<thead><tr>
{% for name in names %}
<th{% if name in words %} class="word"{% endif %} scope="col"><button type="button">{{ name }}</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for begins, shown in rows %}
{% if begins %}
</tbody>
<tbody>
{% endif %}
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
"""
)
_CURVES = ENVIRONMENT.from_string(
    """{% if charts %}
<h2>Learning curves (mean over seeds)</h2>
<ul class="legend">
{% for name, colour, dash in legend %}
<li><svg width="28" height="10" viewBox="0 0 28 10" aria-hidden="true"><path class="line {{ colour }}" d="M0 5H28" \
stroke-width="2"{% if dash %} stroke-dasharray="{{ dash }}"{% endif %}/></svg> {{ name }}</li>
{% endfor %}
</ul>
{% for label, chart in charts %}
<figure>
{{ chart }}
<figcaption>{{ label }}</figcaption>
</figure>
{% endfor %}
{% endif %}
"""
)
_PROTOCOL = ENVIRONMENT.from_string(
    """<dl>
{% for name, text in footer %}
<dt>{{ name }}</dt><dd>{{ text }}</dd>
{% endfor %}
</dl>"""
)
