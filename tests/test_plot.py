"""Pictures: valid files, the same bytes twice, every row in them, the right axis."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from results import fixed, result

from dlreg.errors import UserError
from dlreg.report.dots import dots
from dlreg.report.judge import Group, arranged, compare, judge
from dlreg.report.plot import KINDS, draw, figure
from dlreg.report.question import Question
from dlreg.report.render import render
from dlreg.report.sweep import geometric
from dlreg.report.table import Published
from dlreg.report.tuning import Tried, Tuning


def swept():
    """Two optimizers' rates, geometric, and the numbers of a U-curve."""
    runs = []
    for name in ("sgd", "momentum"):
        for i, lr in enumerate((0.001, 0.01, 0.1, 1.0)):
            for seed in range(2):
                run = result(seed=seed, error=2 + (i - 2) ** 2 + seed / 10)
                run.config["optimizer"] = {"name": name, "lr": lr}
                runs.append(run)
    table = arranged(compare(runs))
    tried = tuple(Tried((f"optimizer.lr={lr}",), score, 1.0) for lr, score in ((0.1, 3.0), (1.0, None), (0.01, 2.0)))
    tunings = [Tuning("validation error %", 2, i % 2 == 1, tried) for i in range(len(table.rows))]
    return replace(table, rows=[replace(row, tuning=t) for row, t in zip(table.rows, tunings, strict=True)])


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("beside", "fit", "regions", "terms")]
)  # those are of runs in folders
def test_png_and_svg(kind):
    table = swept()
    image = np.asarray(Image.open(io.BytesIO(draw(table, kind, "png"))).convert("L"))
    assert image.shape[0] > 300 and image.shape[1] > 600
    assert image.max() == 255 and (image < 128).mean() > 0.005  # ink on white
    text = draw(table, kind, "svg").decode()
    assert text.startswith("<?xml") and "momentum" in text
    assert text.encode() == draw(table, kind, "svg")  # the same bytes again


def test_dots_show_published_values_and_marks():
    groups = [Group({"m": "a $x_1$ <b>"}, [result()], published={"test_error": Published(1.6, None, "why")})]
    groups += [Group({"m": "c"}, [result("l2")])]
    text = draw(judge(groups, 0), "dots", "svg").decode()
    assert "published, beyond the axis († not comparable)" in text
    inside = judge([replace(groups[0], published={"test_error": Published(2.05, None, "why")}), groups[1]], 0)
    assert "published († hollow: not comparable)" in draw(inside, "dots", "svg").decode()
    assert "a $x_1$ &lt;b&gt;" in text  # neither mathematics nor markup
    assert "published" not in draw(arranged(compare(fixed())), "dots", "svg").decode()


def test_a_band_on_a_logarithmic_axis_is_as_wide_downwards():
    """Three losses 1, 1 and 10: mean 4, standard deviation 5.2; m - s would leave the axis."""
    runs = [result("none", seed) for seed in range(3)]
    for run, last in zip(runs, (1.0, 1.0, 10.0), strict=True):
        run.history[0]["train_loss"], run.history[-1]["train_loss"] = 1000.0, last
    axes = figure(compare(runs), "curves").axes[0]
    low, high = (end(axes.collections[0].get_paths()[0].vertices[:, 1]) for end in (min, max))
    assert axes.get_yscale() == "log" and low == pytest.approx(4 / (1 + 27**0.5 / 4)) and high == 1000


@pytest.mark.parametrize(("value", "beside"), [(13.2, "→ 13.20†"), (0.1, "← 0.10†"), (1.35, None)])
def test_a_published_value_far_away_does_not_squeeze_the_axis(value, beside):
    runs = [result("none", seed, 1.5 + seed / 10) for seed in (0, 1)]
    table = judge([Group({"m": "a"}, runs, published={"test_error": Published(value, None, "why")})], 0)
    text = draw(table, "dots", "svg").decode()
    assert beside in text if beside else not re.search("[→←]", text)
    ticks = [float(number) for number in re.findall(r">(\d\.\d+)</text>", text)]
    assert len(ticks) > 2 and min(ticks) > 1 and max(ticks) < 2


def test_a_goal_is_marked_in_its_row_and_on_the_axis():
    table = judge([Group({"m": name}, [result(), result(seed=1)]) for name in "ab"], None)
    table = replace(table, rows=[table.rows[0], replace(table.rows[1], goal=1.25)])
    axes = figure(table, "dots").axes[0]
    (mark,) = [line for line in axes.lines if line.get_label() == "goal"]
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([1.25], [1]) and axes.get_xlim()[0] < 1.25
    assert ">goal<" not in draw(replace(table, rows=table.rows[:1]), "dots", "svg").decode()


def compared():
    """A row judged, a row that lost a seed, a row with an interval far wider than the differences, a margin."""
    rng = np.random.default_rng(0)
    groups = []
    for name, centre, spread in (("none", 2.0, 0.02), ("better", 1.9, 0.02), ("half", 1.95, 0.02), ("wild", 2.05, 0.3)):
        runs = [result("none", s, centre + spread * n) for s, n in enumerate(rng.normal(size=3))]
        groups.append(Group({"m": name}, runs if name != "half" else [*runs[:2], result(status="diverged", seed=2)]))
    groups.append(Group({"m": "gone"}, [result(status="diverged", seed=s) for s in range(3)]))
    return judge(groups, 0, Question(["test_error"], margin=0.1))


def test_dots_show_what_is_judged():
    text = draw(compared(), "dots", "svg").decode()
    for words in (
        "difference in test error %, lower is better",
        ">within 0.1<",
        ">not decided<",
        ">1 of 3 diverged<",
        ">baseline<",
    ):
        assert words in text
    assert "half (1 diverged of 3)" in text and "gone (3 diverged of 3)" in text and "no number" in text
    assert "without the seeds that diverged or failed" in text
    assert "difference" not in draw(judge([Group({"m": "a"}, [result()])], 0), "dots", "svg").decode()


def test_nothing_is_cut_without_a_mark():
    """Every interval end beyond an axis has an arrow head at that edge, and no seed is outside."""
    figure = dots(compared())
    for axes in figure.axes:
        low, high = axes.get_xlim()
        lines = [(line.get_marker(), line.get_xdata(), line.get_ydata()) for line in axes.lines]
        assert all(low <= x <= high for marker, xs, _ in lines if marker == "o" for x in xs)
        heads = {(marker, float(ys[0])) for marker, _, ys in lines if marker in "<>"}
        own = [row.metrics["test_error"] for row in compared().rows]
        change = [row.difference.stat if row.difference and row.difference.judged else None for row in compared().rows]
        expected = set()
        for i, stat in enumerate(own if axes is figure.axes[0] else change):
            if stat and stat.low is not None:
                expected |= {("<", float(i))} if stat.low < low else set()
                expected |= {(">", float(i))} if stat.high > high else set()
        assert heads == expected and expected


def test_the_interval_of_a_difference_that_is_told_is_whole():
    groups = [
        Group({"m": name}, [result("none", s, centre + n) for s, n in enumerate(errors)])
        for name, centre, errors in (("none", 2.0, (0, 0, 0)), ("far", 4.0, (-0.6, 0, 0.6)))
    ]
    table = judge(groups, 0, Question(["test_error"]))
    stat = table.rows[1].difference.stat
    low, high = dots(table).axes[1].get_xlim()
    assert low < 0 < stat.low and stat.high < high
    assert stat.high > 1.6 * stat.mean  # beyond the room that means alone are given


def test_where_nothing_is_told_intervals_of_the_usual_length_are_whole():
    groups = [
        Group({"m": name}, [result("none", s, 5.0 + e) for s, e in enumerate(errors)])
        for name, errors in (("none", (0, 0, 0)), ("near", (-0.9, 0.1, 0.9)), ("too", (0.8, -0.8, 0.1)))
    ]
    table = judge(groups, 0, Question(["test_error"]))
    low, high = dots(table).axes[1].get_xlim()
    for row in table.rows[1:]:
        stat = row.difference.stat
        assert low < stat.low < 0 < stat.high < high


def test_coincident_curves_do_not_hide_a_row():
    table = compare([result("none"), result("l2")])
    assert table.rows[0].runs[0].history == table.rows[1].runs[0].history
    widths = re.findall(r'<polyline .*?stroke-width="([\d.]+)"', render(table, "html"))
    assert widths[0] > widths[1]


def test_sweep_has_the_baseline_as_a_line():
    runs = [result("none", s) for s in (0, 1)] + [result("dropout", s, 1.5) for s in (0, 1)]
    for i, p in enumerate((0.1, 0.2, 0.4)):
        for seed in (0, 1):
            run = result("dropout", seed, 2 - i / 10)
            run.config["reg"]["dropout"]["p"] = p
            runs.append(run)
    text = draw(arranged(compare(runs)), "sweep", "svg").decode()
    assert "reg.dropout.p" in text and re.search(r">none<", text)


def test_where_each_value_has_its_control_a_sweep_shows_shares():
    """Two sizes: 2 % and 1 % wrong without, half of that with dropout; one control for all has no second panel."""
    for own, panels in ((False, 1), (True, 2)):
        groups = []
        for n, error in ((100, 2.0), (1000, 1.0)):
            for reg, part in (("none", 1.0), ("dropout", 0.5)):
                runs = [result(reg, seed, part * (error + seed / 10)) for seed in range(3)]
                control = len(groups) - 1 if reg == "dropout" and own else None
                groups.append(Group({"n": str(n), "reg": reg}, runs, against=control))
        axes = figure(judge(groups, None if own else 0), "sweep").axes
        assert len(axes) == panels
    (half,) = (line for line in axes[-1].lines if line.get_marker() == "s")
    assert np.allclose(half.get_ydata(), -50)
    faultless = [replace(groups[0], results=[result("none", seed, 0.0) for seed in range(3)]), *groups[1:]]
    (half,) = (line for line in figure(judge(faultless, None), "sweep").axes[-1].lines if line.get_marker() == "s")
    assert np.allclose(half.get_ydata(), [-50])  # of an error of 0 there are no shares


@pytest.mark.parametrize(
    ("values", "log"),
    [([0.001, 0.01, 0.1], True), ([1, 2, 4, 8], True), ([0, 1e-4, 1e-3, 1e-2], True), ([0.1, 0.2, 0.3, 0.4], False),
     ([1, 2], False), ([-1, 1, 10], False), ([0.001, 0.003, 0.01, 0.03], True)],
)  # fmt: skip
def test_axis_follows_the_values(values, log):
    assert geometric(values) is log


def test_nothing_to_draw():
    with pytest.raises(UserError, match="nothing to draw"):
        draw(compare([result(status="diverged")]), "dots", "png")
    unvalidated = result()
    unvalidated.val = None
    for kind in ("dots", "sweep"):
        with pytest.raises(UserError, match="no run has a val error %"):
            draw(compare([unvalidated], question=Question(["val_error"])), kind, "png")
    with pytest.raises(UserError, match="needs trials that are done"):
        draw(compare(fixed()), "tuning", "png")
    with pytest.raises(UserError, match="differ in a number"):
        draw(compare(fixed()), "sweep", "png")


def test_what_theory_says_is_not_called_published():
    """In the heading of the column and in both pictures; measured means stand where they are."""
    runs = [result("none", seed, 1.5 + seed / 10) for seed in (0, 1)]
    table = judge([Group({"m": "a"}, runs, published={"test_error": Published(1.6)})], 0)
    for word in ("published", "theory"):
        shown = replace(table, reference=word)
        assert f"| {word} |" in render(shown, "md")
        for kind in ("dots", "beside"):
            text = draw(shown, kind, "svg").decode()
            assert f">{word}<" in text and (word == "theory") == (">published<" not in text)
    axes = figure(table, "beside").axes[0]
    assert {
        float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() in "oD" and len(line.get_xdata())
    } == {1.55, 1.6}
    with pytest.raises(UserError, match="no row has one"):
        draw(compare(fixed()), "beside", "png")
