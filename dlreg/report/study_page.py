"""A table as an HTML page with all that stands behind it: a dot plot, what each row changed, the runs."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from dlreg.report.frame import ENVIRONMENT, framed
from dlreg.report.html import body
from dlreg.report.label import describe
from dlreg.report.metrics import METRICS
from dlreg.report.svg import Chart
from dlreg.report.table import Row, Table
from dlreg.run.result import Result

WIDEST = 34  # characters of a row's name in the picture


def study_page(table: Table, pages: Mapping[str, str]) -> str:
    """The page; `pages` says where the page of a run lies, by its id."""
    base = next((row for row in table.rows if row.baseline and row.runs), None)
    changes = [(row.name, _changes(row, base)) for row in table.rows if base and row is not base and row.runs]
    runs = [(f"r{i}", row.name, [(run.run_id, run.config["seed"], _figure(run, table), pages.get(run.run_id))
             for run in row.runs]) for i, row in enumerate(table.rows) if row.runs]  # fmt: skip
    return framed(
        table.title or "dlreg",
        _NAV.render(runs=runs)
        + body(table)
        + _TEMPLATE.render(dots=_dots(table), base=base and base.name, changes=changes, runs=runs),
    )


def _figure(run: Result, table: Table) -> str:
    """What the table judges, of one run: `test error 3.21 %`."""
    metric = METRICS[table.metrics[0]]
    value, unit = metric.of(run, table.select), " %" if metric.title.endswith(" %") else ""
    return f"{metric.title.removesuffix(' %')} " + ("—" if value is None else f"{value:.{metric.digits}f}{unit}")


def _changes(row: Row, base: Row) -> list[str]:
    """What tells a row from the baseline, key by key; the keys of an option that the row has not go with the option."""
    mine, theirs = (describe(one.runs[0].config) for one in (row, base))
    return [
        f"{key} {f'{theirs[key]} → ' if key in theirs else ''}{value}"
        for key, value in mine.items()
        if theirs.get(key) != value and "_target_" not in key
    ]


def _dots(table: Table) -> Markup | None:
    """Means with 95 % intervals and every seed. The axis follows the seeds: long intervals of few seeds are cut off."""
    metric = METRICS[table.metrics[0]]
    rows = [(row, stat) for row in table.rows if (stat := row.metrics[table.metrics[0]])]
    seeds = [[v for run in row.runs if (v := metric.of(run, table.select)) is not None] for row, _ in rows]
    if not rows:
        return None
    values = [value for found in seeds for value in found]
    room = max(0.6 * (max(values) - min(values)), 0.02 * abs(max(values)))
    low, high = min(values) - room, max(values) + room
    low = max(low, 0.0) if min(values) >= 0 else low
    label = "; ".join(f"{row.name}: {stat.mean:.{metric.digits}f}" for row, stat in rows)
    chart = Chart(f"{metric.title} by row. {label}", (low, high), (len(rows) - 0.4, -0.6), (metric.title, ""),
                  (480, 54 + 22 * len(rows)))  # fmt: skip
    names = [row.name if len(row.name) <= WIDEST else row.name[: WIDEST - 1] + "…" for row, _ in rows]
    chart.left = 12 + 6.2 * max(map(len, names))
    for i, ((_, stat), found) in enumerate(zip(rows, seeds, strict=True)):
        if stat.low is not None and stat.high is not None:
            chart.line([(max(stat.low, low), i), (min(stat.high, high), i)])
        chart.dot(stat.mean, i, 5)
        for value in found:
            chart.dot(value, i, 2.6, 1)
    return chart.svg(names)


_NAV = ENVIRONMENT.from_string(
    """{% if runs %}<nav aria-label="runs of each row">Runs of {% for anchor, name, found in runs %}
<a href="#{{ anchor }}">{{ name }}</a>{% endfor %}</nav>{% endif %}"""
)
_TEMPLATE = ENVIRONMENT.from_string(
    """{% if dots %}
<h2>Means, intervals, seeds</h2>
<figure>{{ dots }}<figcaption>large: mean with its 95 % interval, cut off at the edge; small: one seed</figcaption></figure>
{% endif %}
{% if changes %}
<h2>What each row changed</h2>
<p>Against {{ base }}:</p>
<dl>{% for name, changed in changes %}<dt>{{ name }}</dt><dd>{{ changed|join("; ") or "nothing" }}</dd>
{% endfor %}</dl>
{% endif %}
{% if runs %}
<h2>Runs</h2>
{% for anchor, name, found in runs %}
<section id="{{ anchor }}"><h3>{{ name }}</h3>
<ul>{% for id, seed, figure, address in found %}<li>seed {{ seed }}: {{ figure }},
{% if address %}<a href="{{ address }}">{{ id }}</a>{% else %}{{ id }}{% endif %}</li>
{% endfor %}</ul></section>
{% endfor %}
{% endif %}"""
)
