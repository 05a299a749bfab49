"""Tables from a fixed set of results: numbers against hand arithmetic, every format pinned or parsed back."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from results import TEST, fixed, result
from rich.console import Console

from dlreg.report.cells import interval, short
from dlreg.report.judge import Group, arranged, compare, judge
from dlreg.report.label import describe
from dlreg.report.metrics import JUDGED, METRICS
from dlreg.report.question import Question
from dlreg.report.render import render
from dlreg.report.stats import Stat
from dlreg.report.table import Published, curve

PINNED = Path(__file__).parent / "pinned"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://x")',
    "@SUM(1)",
    "-1+2",
    "+1",
    "\t=1",
    "a|b",
    "`x` *y* [z](http://q)",
    "\\input{/etc/passwd} & % $ # _ { } ~ ^",
    "line\nbreak",
    "'; DROP",
    "</td></style>",
]


@pytest.fixture
def table():
    return arranged(compare(fixed()))


def hostile_table():
    groups = [
        Group({"method": name}, [result("none", seed, 2.0 + i / 10 + seed / 100) for seed in range(2)],
              note=name, published={"test_error": Published(1.0, None, name)})
        for i, name in enumerate(HOSTILE)
    ]  # fmt: skip
    return judge(groups, 0, **{"Source": HOSTILE[0]})


def test_rows_and_numbers(table):
    assert table.columns == ["reg"]
    assert [row.name for row in table.rows] == ["none", "dropout", "l2"]
    none, dropout, l2 = table.rows
    assert none.baseline and none.difference is None
    error = dropout.metrics["test_error"]
    assert (error.n, error.mean) == (3, pytest.approx(sum(TEST["dropout"]) / 3))
    assert error.sd == pytest.approx(0.1006645, abs=1e-6)
    assert dropout.difference.stat.mean == pytest.approx(-0.49333, abs=1e-4)  # over the seeds both have
    assert dropout.difference.verdict == "better"
    assert l2.difference.stat.n == 2 and l2.difference.verdict == "1 of 3 diverged"
    assert dropout.metrics["gap"].mean == pytest.approx(error.mean - 0.5)
    assert [row.best for row in table.rows] == [False, True, False]  # a diverged row is not in the way, nor the best


def test_best_is_bold_when_it_stands_out():
    runs = [r for r in fixed() if "l2" not in r.config["reg"]]
    text = render(arranged(compare(runs)), "md")
    assert "| dropout | **1.61 ± 0.10 (3)** | \\[1.36" in text  # the judged number alone
    assert text.count("**") == 2
    latex = render(arranged(compare(runs)), "latex")
    assert r"\textbf{1.61 $\pm$ 0.10 (3)}" in latex and latex.count(r"\textbf") == 1
    assert render(arranged(compare(runs)), "html").count('class="best"') == 1


def test_conservation_and_status(table):
    assert [row.status for row in table.rows] == [{"done": 3}, {"done": 3}, {"done": 2, "diverged": 1}]
    assert table.protocol["Runs"] == "9 planned = 8 done + 1 diverged"
    one_missing = judge([Group({"m": "a"}, [result()], missing=2)], 0)
    assert one_missing.protocol["Runs"] == "3 planned = 1 done + 2 missing"
    assert "1 done, 2 missing" in render(one_missing, "md")


def test_diverged_and_failed_runs_have_no_numbers():
    table = compare([result("none", 0), result("dropout", 0, status="diverged"), result("dropout", 1, status="failed")])
    dropout = next(row for row in table.rows if row.name == "dropout")
    assert dropout.metrics["test_error"] is None and dropout.difference.stat is None
    assert dropout.difference.verdict == "1 of 2 diverged, 1 of 2 failed"
    assert dropout.status == {"diverged": 1, "failed": 1}


def test_one_seed_needs_seeds():
    table = arranged(compare([result("none", 0, 2.0), result("dropout", 0, 1.0)]))
    assert table.rows[1].difference.verdict == "needs seeds"
    text = render(table, "md")
    assert "| dropout | 1.00 (1) | -1.00 | needs seeds |" in text


@pytest.mark.parametrize("style", ["md", "latex", "html"])
def test_pinned(style, table):
    """A change of these files is a change that users see: regenerate them by DLREG_PIN=1 and look at the difference."""
    path = PINNED / f"table.{style}"
    text = render(table, style)
    if os.environ.get("DLREG_PIN"):
        path.write_text(text)
    assert text == path.read_text()


def test_values_are_labelled_as_they_are_typed():
    config = fixed()[0].config | {
        "schedule": {"name": "multistep", "milestones": [8.0, 13.5], "none": [], "null": None, "off": False}
    }
    config["model"] = config["model"] | {"hidden": [800, 400]}
    words = describe(config)
    assert (words["schedule.null"], words["schedule.off"]) == ("null", "false")
    assert (
        words["schedule.milestones"] == "[8,13.5]"
        and words["schedule.none"] == "[]"
        and words["model.hidden"] == "800x400"
    )


def test_latex_is_balanced(table):
    for text in (render(table, "latex"), render(hostile_table(), "latex")):
        body = re.sub(r"\\[\\{}&%$#_]", "", text.removeprefix("% \\usepackage{booktabs}"))
        assert body.count("{") == body.count("}")
        assert body.count("$") % 2 == 0
        assert not re.search(r"[%#_~^]", body.replace(r"\textasciitilde", "").replace(r"\textasciicircum", ""))
        for name in ("table", "tabular"):
            assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
        rows = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()
        columns = len(re.sub(r"{.*?}", "", re.search(r"begin{tabular}{@{}(.+)@{}}", text)[1]))
        cells = [len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows if row.endswith(r"\tabularnewline")]
        assert set(cells) == {columns}
    assert r"\input" not in text and r"\textbackslash{}input" in text


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles_and_fits_the_page(table, tmp_path):
    rows = [replace(row, label={"optimizer": "momentum"} | row.label) for row in table.rows]
    many = replace(table, columns=["optimizer", *table.columns], rows=rows)
    for i, text in enumerate(render(t, "latex") for t in (table, many, hostile_table())):
        head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
        (tmp_path / f"{i}.tex").write_text(f"{head}\n{text}\n\\end{{document}}\n")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{i}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        assert i == 2 or "Overfull" not in done.stdout


def test_latex_leaves_out_what_has_no_room_and_says_so(table):
    text = render(table, "latex")
    assert "for want of room: seconds, gap, val error" in text and "& seconds" not in text and "& val error" not in text
    short = render(replace(table, metrics=["test_error", "seconds"], rows=table.rows[:2]), "latex")
    assert "for want of room" not in short and "& seconds" in short


def test_terminal(table):
    def drawn(width):
        console = Console(width=width, file=io.StringIO())
        console.print(render(table, "rich"))
        return console.file.getvalue()

    assert all(
        part in drawn(160) for part in ("1.61 ± 0.10 (3)", "[1.36, 1.86]", "1 of 3 diverged", "1 diverged", "61.0")
    )
    narrow = drawn(80)
    assert "1.61 ± 0.10 (3)" in narrow and "no room here for" in narrow and "1.71 ± 0.10" not in narrow
    assert max(map(len, narrow.splitlines())) <= 80


def test_json_carries_every_number_with_its_n(table):
    content = json.loads(render(table, "json"))
    row = content["rows"][1]
    assert row["label"] == {"reg": "dropout"} and row["seeds"] == [0, 1, 2]
    for name in table.metrics:
        assert row["metrics"][name]["n"] == 3
    assert row["difference"]["stat"]["n"] == 3 and row["difference"]["p_adjusted"] < 0.05
    assert (
        content["protocol"]["Data"]
        == "54,000 training, 6,000 validation (held out of the training split), 10,000 test samples"
    )


def test_csv_is_read_back(table):
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert [row["reg"] for row in rows] == ["none", "dropout", "l2"]
    assert float(rows[1]["test_error_mean"]) == pytest.approx(sum(TEST["dropout"]) / 3)
    assert rows[2]["diverged"] == "1" and rows[2]["test_error_n"] == "2"


def test_csv_is_safe_against_formulas():
    rows = list(csv.reader(io.StringIO(render(hostile_table(), "csv"))))
    for row in rows:
        for cell in row:
            if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
                float(cell)  # only numbers may begin so
    assert all(row[0] in (name, f"'{name}") for row, name in zip(rows[1:], HOSTILE, strict=True))


class Skeleton(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    skeleton = Skeleton()
    skeleton.feed(page)
    return skeleton


def test_html_stands_alone(table):
    page = render(table, "html")
    skeleton = parsed(page)
    assert skeleton.tags.count("tr") == 4 and skeleton.tags.count("svg") == 3 + 3  # three curves, three legend entries
    assert skeleton.tags.count("polyline") == 9
    assert not [a for a in skeleton.attributes if a[0] in ("src", "href")]  # it loads nothing
    assert any(v.startswith("default-src 'none'") for k, v in skeleton.attributes if k == "content")
    assert "MIXED" not in page and "1 diverged" in page


def test_html_escapes_everything():
    table = hostile_table()
    hostile = parsed(render(table, "html"))
    groups = [Group({"method": f"m{i}"}, row.runs, note="n", published={"test_error": Published(1.0, None, f"w{i}")})
              for i, row in enumerate(table.rows)]  # fmt: skip
    tame = parsed(render(judge(groups, 0, **{"Source": "s"}), "html"))
    assert hostile.tags == tame.tags  # a name adds no tag
    assert {k for k, _ in hostile.attributes} == {k for k, _ in tame.attributes}
    for name in HOSTILE:
        assert name.strip() in "".join(hostile.text)


def test_policy_covers_style_and_script():
    page = render(compare(fixed()), "html")
    for tag in ("style", "script"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"sha256-{digest}" in page.replace("&#39;", "'").replace("&#43;", "+")


def test_html_sorts_by_numbers():
    """The keys of mean, interval, difference and published value: as text, 9.5 would come after 10.5."""
    groups = [
        Group(
            {"method": name}, [result(name, seed, error) for seed in (0, 1)], published={"test_error": Published(error)}
        )
        for name, error in (("none", 9.5), ("l2", 10.5))
    ]
    page = render(judge(groups, 0, Question(["test_error"])), "html")
    keys = [float(value) for key, value in parsed(page).attributes if key == "data-key"]
    assert len(keys) == 9 and all(a < b for a, b in zip(keys[:4], [*keys[4:7], keys[8]], strict=True))


def test_mixed_fingerprints_and_unequal_seeds_are_flagged():
    runs = [result("none", 0), result("none", 1), result("dropout", 0)]
    runs[0].fingerprint = {**runs[0].fingerprint, "threads": 1}
    runs[1].git = {"commit": "fedcba9876543210", "changed": True}
    protocol = compare(runs).protocol
    assert "threads 1 and 2" in protocol["Warning"] and "2 commits" in protocol["Warning"]
    assert protocol["Seeds"].startswith("UNEQUAL")
    runs[2].test_reads = 2
    assert "1 runs did not read the test set exactly once" in compare(runs).protocol["Warning"]
    assert "UNEQUAL epochs: 2, 5" in compare([result(), result(epochs=5)]).protocol["Budget"]


def test_published_values_carry_their_mark():
    groups = [
        Group({"m": "a"}, [result()], published={"test_error": Published(1.62)}),
        Group({"m": "b"}, [result("l2")], published={"test_error": Published(1.5, 0.2, "another net")}),
    ]
    text = render(judge(groups, 0), "md")
    assert "| 1.62 |" in text and "| 1.50 ± 0.20† |" in text
    assert "- †: not comparable: another net" in text


def test_select_best_val():
    last, best_val = (
        compare(fixed(), question=Question(select=s)).rows[0].metrics["test_error"].mean for s in ("last", "best_val")
    )
    assert last - best_val == pytest.approx(0.05)


def test_the_footer_says_of_which_epoch_training_numbers_are():
    columns = ("test_error", "train_error", "gap")
    last, best_val = (compare(fixed(), question=Question(columns, select=s)) for s in ("last", "best_val"))
    told = "training numbers, also in a gap, are those of the last epoch"
    assert told in best_val.protocol["Numbers"] and told not in last.protocol["Numbers"]
    without = compare(fixed(), question=Question(("test_error", "nll"), select="best_val"))
    assert told not in without.protocol["Numbers"]  # of columns that are not there nothing is said
    before, after = (table.rows[0].metrics for table in (last, best_val))
    assert before["train_error"] == after["train_error"]
    assert after["gap"].mean == pytest.approx(after["test_error"].mean - after["train_error"].mean)


def test_curve_is_mean_over_the_runs_that_go_on():
    runs = [result(seed=0), result(seed=1)]
    runs[1].history = runs[1].history[:1]
    assert [(epoch, stat.n) for epoch, stat in curve(runs, "train_error")] == [(1, 2), (2, 1)]
    assert curve(runs, "train_error")[0][1].mean == pytest.approx(5.0)


def test_numbers_sort_as_numbers_and_the_baseline_does_not_depend_on_order():
    runs = [result(epochs=e) for e in (10, 9, 100)]
    for order in (runs, runs[::-1]):
        table = arranged(compare(order))
        assert [row.name for row in table.rows] == ["9", "10", "100"]


def test_every_metric_has_a_value():
    """Of a run of classes or of one of values, and never of both, but for what every run has."""
    found = {"loss": 0.1, "mse": 0.1, "r2": 0.9, "samples": 20}
    squares = [{"epoch": 1, "train_loss": 0.1, "val_mse": 0.1}]
    values = replace(result(), train=found, val={"last": found}, test={"last": found}, measures={}, history=squares)
    for name, metric in ((name, METRICS[name]) for name in JUDGED):
        known = [run for run in (result(), values) if metric.of(run, "last") is not None]
        assert len(known) == (2 if name in ("seconds", "train_loss", "mean_train_loss") else 1), name
    assert describe(result("dropout").config)["reg"] == "dropout"


def test_every_metric_knows_its_direction():
    assert {metric.better for metric in METRICS.values()} <= {"lower", "higher"}
    groups = [
        Group({"m": name}, [result(name, s, e + s / 50) for s in range(5)]) for name, e in (("none", 2), ("l2", 1))
    ]
    words = []
    for better in ("lower", "higher"):
        METRICS["turned"] = replace(METRICS["test_error"], better=better)
        words.append(judge(groups, 0, Question(["turned"])).rows[1].difference.verdict)
        assert f"({better} is better)" in judge(groups, 0, Question(["turned"])).protocol["Verdicts"]
        del METRICS["turned"]
    assert words == ["better", "worse"]


def test_two_runs_of_one_seed_are_no_sample():
    runs = [result("none", s, 2 + s / 10) for s in range(3)] + [result("l2", s, 1 + s / 10) for s in range(3)]
    twin = result("l2", 0, 99.0)
    twin.config["outputs"] = "elsewhere"
    table = arranged(compare([*runs, twin]))
    row = next(row for row in table.rows if row.name == "l2")
    assert row.metrics["test_error"] is None and row.difference.verdict == "2 runs of seed 0" and not row.best
    assert "l2: 2 runs of seed 0 (outputs differs)" in table.protocol["Warning"]


def other(run, **data):
    run.config["data"] = {**run.config["data"], **data}
    return run


def test_rows_of_different_data_are_not_compared():
    runs = [result(reg, s, e + s / 50) for reg, e in (("none", 2), ("l2", 1)) for s in range(3)]
    digits = [other(result(reg, s, e + s / 50), name="digits") for reg, e in (("none", 5), ("l2", 4)) for s in range(3)]
    table = arranged(compare([*runs, *digits]))
    assert sorted((row.name, row.against) for row in table.rows if row.against) == [
        ("digits, l2", "digits, none"), ("mnist, l2", "mnist, none"),
    ]  # fmt: skip
    assert all(row.difference.stat.mean == pytest.approx(-1) for row in table.rows if row.difference)
    assert "| digits | l2 |" in (text := render(table, "md")) and "| digits, none |" in text
    asked = compare([*runs, *digits], "data=digits")
    verdicts = {row.name: row.difference.verdict for row in asked.rows if row.difference}
    assert verdicts["mnist, l2"] == "other data (name mnist, not digits)" and verdicts["digits, l2"] == "better"
    split = [other(r, val_size=0.2) for r in (result("l2", s, 1) for s in range(3))]
    odd = compare([*runs[:3], *split], "reg=none").rows[1].difference
    assert odd.stat is None and odd.verdict == "other data (val_size 0.2, not 0.1)"
    smaller = [other(r, train_size=500) for r in (result("l2", s, 1 + s / 50) for s in range(3))]  # a treatment
    assert compare([*runs[:3], *smaller], "reg=none").rows[1].difference.verdict == "better"


def test_identical_rows_say_so():
    runs = [result(reg, s, 2 + s / 10) for reg in ("none", "l2") for s in range(3)]
    row = next(row for row in compare(runs).rows if row.name == "l2")
    assert row.difference.verdict == "identical" and row.difference.stat.mean == 0
    runs[-1].test["last"]["loss"] += 1e-12
    row = next(row for row in compare(runs).rows if row.name == "l2")
    assert row.difference.verdict == "not decided"


def test_against_pairs_rows_that_differ_in_one_word():
    runs = []
    for width, error in ((100, 4.0), (800, 2.0)):
        for reg, gain in (("none", 0.0), ("l2", 0.5)):
            for seed in range(5):
                run = result(reg, seed, error - gain + seed / 50 * (1 + gain))
                run.config["model"] = {**run.config["model"], "hidden": [width]}
                runs.append(run)
    for word in ("reg=none", "none"):
        table = arranged(compare(runs, against=word))
        pairs = {row.name: row.against for row in table.rows if row.against}
        assert pairs == {"100, l2": "100, none", "800, l2": "800, none"}
        assert [row.baseline for row in table.rows] == [True, True, False, False]
        assert all(row.difference.verdict == "better" for row in table.rows if row.against)
        assert "Holm's correction over 2 rows" in table.protocol["Verdicts"]
    assert not any(row.against for row in compare(runs, against="reg=dropout").rows)


def test_margin_makes_rows_equivalent():
    runs = [result("none", s, 2 + s / 50) for s in range(5)] + [
        result("l2", s, 2 + s / 50 + (-1) ** s / 50) for s in range(5)
    ]
    table = compare(runs, question=Question(margin=0.2))
    assert next(row for row in table.rows if row.name == "l2").difference.verdict == "equivalent within 0.2"
    assert "within 0.2" in table.protocol["Verdicts"]
    assert table.protocol["In words"] == "l2 is equivalent to none within 0.2 points."


def test_the_table_in_words():
    rng = np.random.default_rng(3)
    errors = {"none": 2.0, "dropout": 1.4, "l2": 1.98}
    runs = [result(reg, s, e + n / 50) for reg, e in errors.items() for s, n in enumerate(rng.normal(size=5))]
    table = compare(runs)
    low, high = (-x for x in (table.rows[1].difference.stat.high, table.rows[1].difference.stat.low))
    words = table.protocol["In words"]
    assert (
        "dropout lowers the test error by 0.60" in words
        and f"points (95 % {low:.2f} to {high:.2f}), against none." in words
    )
    needed = table.rows[2].difference.seeds_needed
    assert f"about l2 (about {needed} seeds of a new table would), if the differences are what they seem." in words
    assert words.endswith("dropout is the best: it differs from every other row that can be judged.")
    assert "Nothing is concluded of l2: 1 of 3 diverged." in compare(fixed()).protocol["In words"]
    assert "In words" not in compare([result()]).protocol


def test_remarks_name_their_rows_and_the_range_of_their_numbers():
    runs = [result("l2", s) for s in range(3)]
    for run, longest in zip(runs, ("1.2", "0.9", "1.5"), strict=True):
        run.remarks = [f"max-norm never acted: the longest row has {longest}, and c = 3"]
    remarks = compare([*runs, result("none")]).protocol["Remarks"]
    assert remarks == "max-norm never acted: the longest row has 0.9 to 1.5, and c = 3 (l2: 3 runs)"


def test_seconds_per_run_are_those_of_runs():
    runs = [result(seed=s) for s in range(3)]
    for run, seconds in zip(runs, (10.0, 20.0, 60.0), strict=True):
        run.seconds = seconds
    assert "10.0 to 60.0 s per run" in compare(runs).protocol["Budget"]


def test_a_thousand_folders_tabulate_in_two_seconds():
    import time

    runs = []
    for i in range(100):
        for seed in range(10):
            run = result("l2" if i else "none", seed, 2 + seed / 50 + (i * 7 + seed * 3) % 11 / 100)
            if i:
                run.config["reg"] = {"l2": {"alpha": i / 1000}}
            runs.append(run)
    start = time.process_time()
    table = arranged(compare(runs))
    render(table, "md")
    assert len(table.rows) == 100 and time.process_time() - start < 2
    assert re.search(r"'l2, 0.007' \(.*?\) and \d\d more,", table.protocol["In words"])
    assert max(map(len, table.protocol.values())) < 1500  # many rows are not all named


def test_a_cell_never_holds_nothing_but_zeros_of_a_loss():
    tiny, usual, huge = (Stat(2, m, s, m - s, m + s) for m, s in ((6.1e-6, 1e-6), (0.0123, 0.002), (9.7e9, 1e9)))
    assert (short(tiny, 4), interval(tiny, 4)) == ("6.1e-06 ± 1.0e-06", "[5.1e-06, 7.1e-06]")
    assert (short(usual, 4, sign=True), short(huge, 4)) == ("+0.0123 ± 0.0020", "9.7e+09 ± 1.0e+09")
    assert short(Stat(2, 0.0, 0.0, 0.0, 0.0), 4) == "0.0000 ± 0.0000"
    assert short(Stat(2, 0.001, 0.003, 0.0, 0.0), 2) == "0.00 ± 0.00"  # of errors, which are counted
