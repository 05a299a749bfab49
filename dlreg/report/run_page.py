"""One run as a self-contained HTML page: what it was, how training went, what it gets wrong, what it learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from dlreg.errors import UserError
from dlreg.report import inside
from dlreg.report.frame import ENVIRONMENT, framed
from dlreg.report.label import describe, outcome
from dlreg.report.layer_table import layer_table
from dlreg.report.mistakes import brier, calibration_error, confusion, reliability, worst
from dlreg.report.svg import Chart
from dlreg.report.table import curve
from dlreg.run.predictions import Predictions, predictions
from dlreg.run.reopen import Opened, reopen
from dlreg.run.result import Result, figure_of
from dlreg.run.robust import under_attack
from dlreg.ui import percent

MOST = 20  # classes whose confusions fit a page
HISTORY = {  # panel -> the columns of the history that it shows
    "loss": {"training": "train_loss", "validation": "val_loss"},
    "error %": {"training": "train_error", "validation": "val_error"},
    "squared error": {"training": "train_mse", "validation": "val_mse"},
    "learning rate": {"": "lr"},
}


@dataclass(frozen=True)
class Section:
    """A heading, a line of text, figures with captions, and what else stands there as HTML."""

    title: str
    text: str = ""
    figures: Sequence[tuple[str, Markup]] = ()
    extra: str = ""  # HTML
    kind: str = ""  # a class of the figures


def run_page(result: Result, home: str = "") -> str:
    """The page of a run; `home` is the address of the page it belongs to, if it does."""
    sections = [Section("Settings", extra=_pairs(describe(result.config) | {"seed": str(result.config["seed"])}))]
    if result.status == "done":
        sections += [*_training(result), *_of_model(result)]
    return framed(result.run_id, _BODY.render(summary=_summary(result), sections=sections, home=home))


def _summary(result: Result) -> list[tuple[str, str]]:
    if not result.test or not result.train:
        return [("Outcome", outcome(result)), *(("Note", text) for text in result.remarks)]
    last, best = result.test["last"], result.test["best_val"]
    assert last
    attacked = under_attack(result.config["attack"], last)
    figure = figure_of(last)
    name, shown = ("error", percent) if figure == "error" else ("squared error", "{:.4g}".format)
    found = {
        f"Test {name}": shown(last[figure]),
        "Under attack": ", ".join(f"{rung} {percent(error)}" for rung, error in attacked.items()),
        "At the best epoch on validation": shown(best[figure]) if best else "",
        f"Training {name}": shown(result.train[figure]),
        "Time": f"{result.seconds or 0.0:.1f} s for {len(result.history)} epochs",
        "Parameters": f"{result.parameters or 0:,}",
    }
    return [pair for pair in found.items() if pair[1]] + [("Note", text) for text in result.remarks]


def _training(result: Result) -> list[Section]:
    figures = []
    for title, columns in HISTORY.items():
        lines = {name: [(float(e), s.mean) for e, s in curve([result], key)] for name, key in columns.items()}
        points = [point for line in lines.values() for point in line]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        words = " and ".join(name for name in lines if name and lines[name])
        chart = Chart(f"{words} {title} against the epoch".strip(), (min(epochs), max(epochs)),
                      (min(0.0, *values), max(values)), ("epoch", ""))  # fmt: skip
        for i, line in enumerate(lines.values()):
            chart.line(line, i)
        figures.append((title, chart.svg()))
    return [Section("Training", "Blue: on the training set. Orange: on the validation set.", figures)]


def _of_model(result: Result) -> list[Section]:
    """What needs the predictions, and what needs the model and the data; what is not there is said."""
    try:
        opened: Opened | None = reopen(result.folder or result.run_id)
        why = ""
    except UserError as error:
        opened, why = None, f"Not shown: {error}"
    found = predictions(result) or (opened and opened.predict(opened.test)[0])
    if found and found.labels.ndim > 1:
        found = None  # values: there are no classes to be mistaken
    names = (
        opened.names
        if opened
        else [str(i) for i in range(1 + int(max(found.labels.max(), found.predicted.max())))]
        if found
        else []
    )
    sections = [_by_class(found, names)] if found else []
    if found and found.probabilities is not None:
        sections.append(_calibration(found))
    first = "The first member of the committee. " if opened and hasattr(opened.model, "members") else ""
    text, table = layer_table(result.folder, opened)
    inner = [Section("Layers", f"{first}{text}", extra=table)] if table else []
    if opened is None:
        return [*sections, *inner, Section("Pictures and weights", why)]
    if found and found.probabilities is not None:
        sections.insert(1, _worst(found, opened))
    if plane := inside.regions(opened, opened.test):
        sections.append(Section("Decision regions", "Dots: test samples, in the colour of their class.", [("", plane)]))
    if images := inside.filters(opened):
        sections.append(Section("First layer", f"{first}The largest filters; zero is grey.", images, kind="sample"))
    if not list(opened.model.parameters()):
        return sections
    text = f"{first}As they act in evaluation, a histogram for each layer."
    return [*sections, *inner, Section("Weights", text, inside.histograms(opened.model))]


def _by_class(found: Predictions, names: Sequence[str]) -> Section:
    counts = confusion(found, len(names))
    totals, right = counts.sum(1), counts.diagonal()
    mistaken = counts - np.diag(right)
    rows = [
        (names[i], int(totals[i]), int(totals[i] - right[i]), 100 * (1 - right[i] / totals[i]),
         f"{names[j]} ({mistaken[i, j]})" if mistaken[i, (j := int(mistaken[i].argmax()))] else "–")
        for i in np.flatnonzero(totals).tolist()
    ]  # fmt: skip
    share = counts / np.maximum(totals[:, None], 1)
    heat = np.ceil(9 * np.sqrt(share)).astype(int)
    extra = _CLASSES.render(rows=rows, names=names, counts=counts, heat=heat, most=MOST)
    return Section("Classes", extra=extra)


def _worst(found: Predictions, opened: Opened) -> Section:
    which = worst(found)
    captions = [
        f"#{i}: {opened.names[found.labels[i]]}, said {opened.names[said]} "
        f"({100 * float(found.beliefs[i, said]):.0f}\N{NO-BREAK SPACE}%)"
        for i in which
        for said in [int(found.predicted[i])]
    ]
    pictures = inside.samples(opened.test, which, captions)
    text = "The wrong answers that the model was surest of: number in the test set, class, answer, confidence."
    listed = "" if pictures or not which else _LIST.render(captions=captions)
    return Section("Worst mistakes", text if which else "There are none.", pictures, listed, "sample")


def _calibration(found: Predictions) -> Section:
    bins = reliability(found)
    error = calibration_error(bins)
    chart = Chart(
        f"reliability diagram: accuracy against confidence, expected calibration error {error:.4f}",
        (0.0, 1.0), (0.0, 1.0), ("confidence", "accuracy"), (300, 260),
    )  # fmt: skip
    for b in bins:
        chart.bars([b.low, b.high], [b.accuracy])
    chart.line([(0.0, 0.0), (1.0, 1.0)], 1)
    for b in bins:
        chart.dot(b.confidence, b.accuracy, 2.5, 1)
    text = f"Expected calibration error {100 * error:.2f} %, Brier score {brier(found):.4f} (0 to 2, lower is better)."
    counts = Chart("number of test samples against confidence", (0.0, 1.0), (0.0, float(max(b.samples for b in bins))),
                   ("confidence", "samples"), (300, 260))  # fmt: skip
    for b in bins:
        counts.bars([b.low, b.high], [float(b.samples)])
    figures = [("bars: accuracy; dots: mean confidence", chart.svg()), ("how many samples", counts.svg())]
    return Section("Calibration", text, figures)


def _pairs(words: dict[str, Any]) -> str:
    return _PAIRS.render(words=words)


_PAIRS = ENVIRONMENT.from_string(
    """<dl class="columns">{% for key, value in words.items() if "_target_" not in key %}<dt>{{ key }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl>"""
)
_LIST = ENVIRONMENT.from_string("<ul>{% for text in captions %}<li>{{ text }}</li>{% endfor %}</ul>")
_CLASSES = ENVIRONMENT.from_string(
    """<div class="wide" tabindex="0" role="region" aria-label="error by class">
<table><caption>Error by class</caption>
<thead><tr>{% for name in ("class", "samples", "wrong", "error %", "most often taken for") %}
<th scope="col"{% if loop.first or loop.last %} class="word"{% endif %}><button type="button">{{ name }}</button></th>
{% endfor %}</tr></thead>
<tbody>{% for name, total, wrong, error, other in rows %}
<tr><td class="word">{{ name }}</td><td>{{ total }}</td><td>{{ wrong }}</td><td>{{ "%.2f"|format(error) }}</td>
<td class="word">{{ other }}</td></tr>{% endfor %}</tbody></table></div>
{% if names|length <= most %}
<div class="wide" tabindex="0" role="region" aria-label="confusion matrix">
<table class="heat"><caption>Confusions (row: true class, column: answer)</caption>
<thead><tr><td></td>{% for name in names %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in counts %}{% set i = loop.index0 %}
<tr><th scope="row">{{ names[i] }}</th>{% for n in row %}<td class="h{{ heat[i][loop.index0] }}">{{ n }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endif %}"""
)
_BODY = ENVIRONMENT.from_string(
    """{% if home %}
<p><a href="{{ home }}">All runs</a></p>
{% endif %}
<dl>{% for name, text in summary %}<dt>{{ name }}</dt><dd>{{ text }}</dd>
{% endfor %}</dl>
<nav aria-label="sections">{% for section in sections %}<a href="#s{{ loop.index }}">{{ section.title }}</a> {% endfor %}</nav>
{% for section in sections %}
<section id="s{{ loop.index }}" aria-labelledby="h{{ loop.index }}">
<h2 id="h{{ loop.index }}">{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{{ section.extra|safe }}
{% for caption, figure in section.figures %}
<figure{% if section.kind %} class="{{ section.kind }}"{% endif %}>
{{ figure }}
{% if caption %}<figcaption>{{ caption }}</figcaption>{% endif %}
</figure>
{% endfor %}
</section>
{% endfor %}"""
)
