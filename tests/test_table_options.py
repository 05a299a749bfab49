"""What a table is asked to say: every option over every format, and the rules behind them."""

import csv
import io
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from results import of_values, result

from dlreg import cli
from dlreg.errors import UserError
from dlreg.report.blocks import cut
from dlreg.report.dots import dots
from dlreg.report.judge import Group, arranged, compare, judge
from dlreg.report.label import describe
from dlreg.report.metrics import JUDGED, METRICS
from dlreg.report.plot import draw
from dlreg.report.question import Question
from dlreg.report.render import FORMATS, render
from dlreg.report.stats import Stat
from dlreg.report.target import Reached
from dlreg.report.where import Condition, rows_where, where

ROOT = Path(__file__).resolve().parent.parent
OPTIMIZERS, REGS = ("sgd", "adam"), ("none", "dropout", "l2")
ERRORS = {("sgd", "none"): 2.0, ("sgd", "dropout"): 1.5, ("sgd", "l2"): 2.1,
          ("adam", "none"): 1.6, ("adam", "dropout"): 1.7, ("adam", "l2"): 1.2}  # fmt: skip
ALL = tuple(itertools.product(OPTIMIZERS, REGS))


def run(optimizer, reg, seed, error, **changes):
    rate = {"sgd": 0.1, "adam": 1e-3}[optimizer]
    return result(reg, seed, error, optimizer={"name": optimizer, "_target_": f"x.{optimizer}", "lr": rate}, **changes)


def runs():
    """Two optimizers by three regularizers by three seeds; one run diverged."""
    rng = np.random.default_rng(1)
    found = [run(o, r, s, e + n / 50) for (o, r), e in ERRORS.items() for s, n in enumerate(rng.normal(size=3))]
    found[-1] = run("adam", "l2", 2, 1.2, status="diverged")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("runs")
    for each in runs():
        (top / each.run_id).mkdir()
        each.write(top / each.run_id)
    return top


def printed(capsys, *argv):
    assert cli.main(["table", *map(str, argv)]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    assert cli.main(list(map(str, argv))) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    return error


CELLS = {
    "rich": r"^ +{} +{} ",
    "md": r"^\| {} \| {} \|",
    "latex": r"^{} & {} &",
    "csv": r"^{},{},",
    "json": r'"optimizer": "{}",\s+"reg": "{}"\s',
    "html": r'<td class="word">{}</td>\s+<td class="word">{}</td>',
}


def order(style, text):
    """The rows as (optimizer, reg), from top to bottom."""
    found = CELLS[style].format(r"(sgd|adam)", r"(none|dropout|l2)")
    return tuple(match.groups() for match in re.finditer(found, text, re.MULTILINE))


PLAIN = (("sgd", "none"), ("sgd", "dropout"), ("sgd", "l2"), ("adam", "none"), ("adam", "dropout"), ("adam", "l2"))
OF_ADAM = (("adam", "none"), ("adam", "dropout"), ("adam", "l2"))
BY_ERROR = (("adam", "l2"), ("sgd", "dropout"), ("adam", "none"), ("adam", "dropout"), ("sgd", "none"), ("sgd", "l2"))
# option -> (arguments, rows in order, what the text holds in every format, what data formats hold instead)
OPTIONS = {
    "columns": (["--columns", "accuracy,top5_accuracy,val_accuracy,train_accuracy"], PLAIN, "test accuracy %", "accuracy"),
    "where": (["--where", "reg=none,dropout", "--where", "optimizer.lr<0.01"], None, "Where", None),
    "by": (["--by", "optimizer"], PLAIN, "compared with", "against"),
    "by, against": (["--by", "reg", "--against", "optimizer=sgd"], None, "compared with", "against"),
    "sort": (["--sort", "test_error"], BY_ERROR, "test error %", "test_error"),
    "sort down": (["--sort", "-test_error"], BY_ERROR[::-1], "test error %", "test_error"),
    "sort in blocks": (["--by", "optimizer", "--sort", "-test_error"], (("sgd", "l2"), ("sgd", "none"), ("sgd", "dropout"),
                       ("adam", "dropout"), ("adam", "none"), ("adam", "l2")), "test error %", "test_error"),
    "sort by words": (["--sort", "-config"], PLAIN[::-1], "test error %", "test_error"),
    "target": (["--target", "3"], PLAIN, "epochs to val error < 3 %", "target"),
    "title": (["--title", "Which optimizer"], PLAIN, "Which optimizer", None),
    "no protocol": (["--no-protocol"], PLAIN, "test error %", "test_error"),
}  # fmt: skip


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_in_every_format(option, style, folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    argv, rows, told, data = OPTIONS[option]
    text = printed(capsys, folder, *argv, "--format", style)
    if rows is not None:
        assert order(style, text) == rows
    if style in ("csv", "json"):
        assert data is None or data in text
    else:
        assert told.replace("%", r"\%").replace("<", r"\textless{}") in text if style == "latex" else (
            told.replace("<", "&lt;") in text if style in ("md", "html") else told in text
        )  # fmt: skip
    if style != "csv":  # which has no footer
        assert ("Made with" in text) == (option != "no protocol")
        assert ("Where" in text) == (option == "where")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_word_that_an_option_adds_is_explained(option, folder, capsys):
    page = (ROOT / "docs" / "site" / "table.md").read_text()
    argv = OPTIONS[option][0]
    for name in json.loads(printed(capsys, folder, *argv, "--format", "json"))["protocol"]:
        assert f"**{name}**" in page
    head = next(line for line in printed(capsys, folder, *argv, "--format", "md").splitlines() if line.startswith("| "))
    titles = {metric.title for metric in METRICS.values()}
    for column in [cell.strip() for cell in head.strip("| ").split(" | ")]:
        known = column in titles or column in ("optimizer", "reg", "optimizer.lr")
        assert known or f"**{column.replace('&lt; 3', '< E')}**" in page, column


PAIRS = [(name, name.replace("accuracy", "error")) for name in METRICS if name.endswith("accuracy")]
PAIRS = [(right, wrong if wrong in METRICS else "test_error") for right, wrong in PAIRS]


@pytest.mark.parametrize(("right", "wrong"), PAIRS)
def test_an_accuracy_says_what_its_error_says(right, wrong):
    """The same verdicts, p-values and best row; the numbers are complements, the differences have the other sign."""
    a, b = (arranged(compare(runs(), question=Question([name]))) for name in (right, wrong))
    for mine, theirs in zip(a.rows, b.rows, strict=True):
        x, y = mine.metrics[right], theirs.metrics[wrong]
        assert (x.mean, x.sd, x.n) == (pytest.approx(100 - y.mean), pytest.approx(y.sd, abs=1e-12), y.n)
        assert (mine.best, mine.against) == (theirs.best, theirs.against)
        d, e = mine.difference, theirs.difference
        if e and e.stat:
            assert (d.verdict, d.p_adjusted) == (e.verdict, pytest.approx(e.p_adjusted))
            assert d.stat.mean == pytest.approx(-e.stat.mean, abs=1e-9)
    said, unsaid = (table.protocol.get("In words", "") for table in (a, b))
    assert said.count("raises") == unsaid.count("lowers") and said.count("lowers") == unsaid.count("raises")
    assert f"({METRICS[right].better} is better)" in a.protocol["Verdicts"] and METRICS[right].better == "higher"


def test_the_best_accuracy_is_bold():
    found = [run("sgd", r, s, e + s / 100) for r, e in (("none", 2.0), ("l2", 1.0)) for s in range(4)]
    text = render(arranged(compare(found, question=Question(["accuracy", "test_error"]))), "md")
    assert re.search(r"\| l2 \| \*\*98.9\d ± 0.01 \(4\)\*\*", text) and "l2 raises the test accuracy by 1.00" in text


@pytest.mark.parametrize(
    "text",
    ["reg=dropout", "reg=none,l2", "reg!=l2", "reg=*o*", "optimizer.lr=0.10", "optimizer.lr<0.1", "optimizer.lr<=1e-1",
     "optimizer.lr>0.05", "seed>=1", "seed=0,2", "status=done", "reg.dropout.p>0.1", "reg.dropout.p!=0.5", "version=0.1.0"],
)  # fmt: skip
def test_where_keeps_what_python_would(text):
    truth = {
        "reg=dropout": lambda r: list(r.config["reg"]) == ["dropout"],
        "reg=none,l2": lambda r: "dropout" not in r.config["reg"],
        "reg!=l2": lambda r: "l2" not in r.config["reg"],
        "reg=*o*": lambda r: "l2" not in r.config["reg"],
        "optimizer.lr=0.10": lambda r: r.config["optimizer"]["lr"] == 0.1,
        "optimizer.lr<0.1": lambda r: r.config["optimizer"]["lr"] < 0.1,
        "optimizer.lr<=1e-1": lambda r: True,
        "optimizer.lr>0.05": lambda r: r.config["optimizer"]["lr"] > 0.05,
        "seed>=1": lambda r: r.config["seed"] >= 1,
        "seed=0,2": lambda r: r.config["seed"] != 1,
        "status=done": lambda r: r.status == "done",
        "reg.dropout.p>0.1": lambda r: "dropout" in r.config["reg"],
        "reg.dropout.p!=0.5": lambda r: "dropout" not in r.config["reg"],
        "version=0.1.0": lambda r: r.status == "done",
    }[text]
    kept, line = where(runs(), [Condition.of(text)])
    assert [r.run_id for r in kept] == [r.run_id for r in runs() if truth(r)]
    assert f"{text}: {len(kept)} of 18 runs; left out: " in line
    assert line.endswith("none") or re.search(rf"left out: {18 - len(kept)} runs? with ", line)


def test_a_stack_is_written_as_it_is_typed():
    stacked = run("sgd", "dropout", 0, 2.0)
    stacked.config["reg"] = {"dropout": {"p": 0.5}, "l2": {"alpha": 1e-4}}
    kept, line = where([*runs(), stacked], [Condition.of("reg=[dropout,l2]")])
    assert kept == [stacked] and line.endswith("left out: 18 runs with reg none, dropout or l2")
    assert len(where([*runs(), stacked], [Condition.of("reg=none,[dropout,l2]")])[0]) == 7


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--where", "rge=dropout"], "--where 'rge=dropout': no run has rge. Did you mean reg?"),
        (["--where", "reg=maxnorm"], "no run is left of 18; reg is none, dropout or l2"),
        (["--where", "reg=l2", "--where", "reg=none"], "no run is left of 6 that the conditions before it leave"),
        (["--where", "reg"], "must be KEY=VALUE"),
        (["--where", "reg="], "must be KEY=VALUE"),
        (["--where", "optimizer.lr<small"], "< needs a number"),
        (["--by", "optimiser"], "--by=optimiser: no run has it. Did you mean optimizer?"),
        (["--sort", "accuracy"], "--sort=accuracy: the table has no such column; allowed: config, test_error"),
        (["--sort", "-tset_error"], "Did you mean test_error?"),
        (["--target", "0"], "--target=0 must be a validation error in percent"),
        (["--target", "two"], "--target=two must be"),
        (["--columns", "acuracy"], "acuracy is not one"),
        (["--by", "optimizer", "--baseline", "reg=maxnorm"], "no row is called that"),
    ],
)
@pytest.mark.parametrize("command", ["table", "plot"])
def test_what_cannot_be_asked_is_refused_in_one_line(command, argv, said, folder, capsys):
    assert said in refused(capsys, command, folder, *argv)


def test_a_study_says_its_own_blocks(capsys):
    assert "--by are for folders; a study says its own" in refused(capsys, "table", "mnist_regularizers", "--by", "reg")


def test_the_rows_of_a_study_are_chosen_after_the_verdicts():
    groups = [Group({"method": r}, [run("sgd", r, s, ERRORS["sgd", r] + s / 50) for s in range(3)]) for r in REGS]
    whole = judge(groups, 0)
    words = [describe(row.runs[0].config) | row.label for row in whole.rows]
    part = rows_where(whole, words, [Condition.of("reg=dropout")])
    assert [row.name for row in part.rows] == ["dropout"] and part.rows[0] == whole.rows[1]
    assert part.protocol["Where"] == (
        "reg=dropout: 1 of 3 rows; left out: 2 rows with reg none or l2; "
        "the other lines, and the families of verdicts, are about all 3"
    )
    assert [row.name for row in rows_where(whole, words, [Condition.of("method!=l2")]).rows] == ["none", "dropout"]
    with pytest.raises(UserError, match=r"no row has metod\. Did you mean method"):
        rows_where(whole, words, [Condition.of("metod=l2")])


@pytest.mark.parametrize("by", ["optimizer", "reg", "epochs"])
def test_a_block_is_judged_as_if_it_stood_alone(by):
    """One family for each block: its verdicts, p-values and best row are those of a table of its runs."""
    found = runs()
    words = {"optimizer": lambda r: r.config["optimizer"]["name"], "reg": lambda r: "+".join(r.config["reg"]) or "none",
             "epochs": lambda r: str(r.config["epochs"])}[by]  # fmt: skip
    table = cut(found, by, None, None, Question())
    assert table.columns[0] == by and sum(row.status.get("done", 0) for row in table.rows) == 17
    assert table.protocol["Runs"] == "18 planned = 17 done + 1 diverged"
    for value in dict.fromkeys(map(words, found)):
        alone = arranged(compare([r for r in found if words(r) == value]))
        rows = [row for row in table.rows if row.label[by] == value]
        assert [(r.difference, r.best, r.baseline, r.metrics) for r in rows] == [
            (r.difference, r.best, r.baseline, r.metrics) for r in alone.rows
        ]
        names = {row.name for row in rows}
        assert all(row.against in names for row in rows if row.against)
        assert f"{value}: {alone.protocol['In words']}" in table.protocol["In words"]
        assert f"{value}: {alone.test}" in table.protocol["Verdicts"]


def test_two_versions_are_two_runs_where_versions_are_asked_for(tmp_path, capsys):
    for version in ("0.1.0", "0.2.0"):
        for each in runs():
            each.versions = {**each.versions, "dlreg": version}
            (tmp_path / version / each.run_id).mkdir(parents=True)
            each.write(tmp_path / version / each.run_id)
    folders = [tmp_path / "0.1.0", tmp_path / "0.2.0"]
    plain = list(csv.DictReader(io.StringIO(printed(capsys, *folders, "--format", "csv"))))
    assert len(plain) == 6
    where_done = ["--where", "status=done", "--by", "version", "--format", "csv"]
    blocks = list(csv.DictReader(io.StringIO(printed(capsys, *folders, *where_done))))
    assert [row["version"] for row in blocks] == ["0.1.0"] * 6 + ["0.2.0"] * 6
    assert [row["delta_mean"] for row in blocks[:6]] == [row["delta_mean"] for row in blocks[6:]]
    against = [*where_done, "--against", "version=0.1.0"]
    across = list(csv.DictReader(io.StringIO(printed(capsys, *folders, *against))))
    assert [row["verdict"] for row in across[6:]] == ["identical"] * 6
    assert all(row["against"] == f"0.1.0, {row['optimizer']}, {row['reg']}" for row in across[6:])


def test_two_states_of_a_plugin_are_compared_by_its_name():
    digests = {"a" * 64: 2.0, "b" * 64: 1.0}
    found = [run("sgd", r, s, e + s / 50, content={"mytricks": digest})
             for digest, e in digests.items() for r in ("none", "l2") for s in range(3)]  # fmt: skip
    table = cut(found, "mytricks", None, "mytricks=aaaaaaaaaa", Question())
    assert [(row.name, row.against) for row in table.rows[2:]] == [
        ("bbbbbbbbbb, none", "aaaaaaaaaa, none"), ("bbbbbbbbbb, l2", "aaaaaaaaaa, l2"),
    ]  # fmt: skip
    assert [row.difference.verdict for row in table.rows[2:]] == ["better", "better"]


def reaching(*epochs):
    """Runs that come below 3 % at these epochs (None: never), an epoch taking 2 s."""
    found = []
    for seed, epoch in enumerate(epochs):
        each = run("sgd", "none", seed, 2.0)
        each.history = [{**each.history[0], "epoch": e, "seconds": 2.0, "val_error": 0.029 if e == epoch else 0.03}
                        for e in range(1, 6)]  # fmt: skip
        found.append(each)
    return found


@pytest.mark.parametrize(
    ("epochs", "lost", "shown"),
    [
        ((2, 4, 3), 0, ("3.0 ± 1.0 (3)", "6.0 ± 2.0 (3)")),
        ((2, None, 4), 0, ("2 of 3 reached, 2 to 4", "2 of 3 reached, 4.0 to 8.0")),
        ((2, 4), 1, ("2 of 3 reached, 2 to 4", "2 of 3 reached, 4.0 to 8.0")),
        ((None, 5, None), 0, ("1 of 3 reached, 5", "1 of 3 reached, 10.0")),
        ((None, None), 1, ("not reached (0 of 3)",) * 2),
        ((3,), 0, ("3.0 (1)", "6.0 (1)")),
    ],
)
def test_time_to_a_target_never_leaves_out_who_missed_it(epochs, lost, shown):
    diverged = [run("sgd", "none", 9 + i, 2.0, status="diverged") for i in range(lost)]
    table = replace(compare([*reaching(*epochs), *diverged]), target=3.0)
    text = render(table, "md")
    assert f"| {shown[0]} | {shown[1]} |" in text
    reached = Reached.of(table.rows[0], 3.0)
    assert (reached.stat(reached.epochs) is None) == ("±" not in shown[0] and "(1)" not in shown[0])
    row = json.loads(render(table, "json"))["rows"][0]["target"]
    assert row == {
        "epochs": [e for e in epochs if e],
        "seconds": [2.0 * e for e in epochs if e],
        "runs": len(epochs) + lost,
    }
    data = next(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert (data["target_reached"], data["target_runs"]) == (str(len(row["epochs"])), str(row["runs"]))
    assert bool(data["epochs_to_target_mean"]) == (len(row["epochs"]) == row["runs"])


def made(name):
    """A maker of runs that have the number."""
    return lambda *words: of_values(run(*words)) if "mse" in name or name == "r2" else run(*words)


@pytest.mark.parametrize("name", JUDGED)
def test_an_axis_shows_nothing_that_cannot_be_and_does_not_squeeze(name):
    """Of errors of 1.0 and 1.4 %, and of the accuracies of 99.0 and 98.6 %, a picture has the same scale."""
    found = [made(name)("sgd", r, s, e + s / 50) for r, e in (("none", 1.4), ("l2", 1.0)) for s in range(3)]
    table = arranged(compare(found, question=Question([name])))
    low, high = dots(table).axes[0].get_xlim()
    least, most = METRICS[name].limits
    values = [METRICS[name].of(r, "last") for r in found]
    assert least <= low < min(values) and max(values) < high <= most
    spread = max(values) - min(values)
    if name.split("_")[0] not in ("train", "mean", "seconds") and not name.startswith(
        "val_error_"
    ):  # alike in all runs
        assert high - low < 8 * spread


def test_without_validation_no_target_is_missed():
    [each] = reaching(None)
    each.history = [{**entry, "val_error": None} for entry in each.history]
    assert "| — | — |" in render(replace(compare([each]), target=3.0), "md")


@pytest.mark.parametrize("name", JUDGED)
def test_no_interval_leaves_what_a_number_can_be(name):
    """And what is cut off held no value that the mean can take, so that the interval covers as often as before."""
    low, high = METRICS[name].limits
    for errors in ([0.0, 0.0, 0.5], [0.1, 3.0], [99.0, 100.0, 100.0], [0.0, 0.0]):
        found = [made(name)("sgd", "none", s, e) for s, e in enumerate(errors)]
        cutted, raw = METRICS[name].stat(found, "last"), Stat.of(METRICS[name].of(r, "last") for r in found)
        assert low <= cutted.low <= cutted.mean <= cutted.high <= high
        for mean in np.linspace(max(low, -200), min(high, 200), 401):
            assert (cutted.low <= mean <= cutted.high) == (raw.low <= mean <= raw.high)


def test_one_run_has_no_protocol_of_a_comparison():
    lines = compare([run("sgd", "none", 0, 2.0)], question=Question(["test_error", "seconds"])).protocol
    assert set(lines) == {"All runs", "Data", "Seeds", "Selection", "Precision", "Made with"}
    assert lines["Seeds"] == "0"


@pytest.mark.parametrize(("columns", "told"), [(("test_error", "gap"), True), (("test_error", "nll"), False)])
def test_the_footer_speaks_of_columns_that_are_there(columns, told):
    table = compare(runs(), question=Question(columns))
    assert ("gap: test minus training error" in table.protocol["Numbers"]) == told
    assert "Δ: mean ± sample standard deviation of the differences" in table.protocol["Numbers"]
    single = compare([r for r in runs() if r.config["seed"] == 0], question=Question(columns))
    assert single.protocol["Numbers"].startswith("single runs") and "±" not in single.protocol["Numbers"]


def test_latex_has_a_caption_and_a_label():
    table = compare(runs())
    plain = render(table, "latex")
    assert r"\caption{Test error \% by optimizer, reg}" in plain and r"\label{tab:dlreg}" in plain
    named = render(replace(table, title="T1: 50 % of {a}"), "latex")
    assert r"\caption{T1: 50 \% of \{a\}}" in named and r"\label{tab:t1-50-of-a}" in named
    assert named.index(r"\caption") < named.index(r"\label")
    bare = render(replace(table, protocol={}, metrics=["test_error"]), "latex")
    assert bare.endswith("\\end{tabular}\n\\end{table}") and "% left out, for want of room: 95 % interval\n" in bare


def test_html_has_a_body_for_each_block():
    page = render(cut(runs(), "optimizer", None, None, Question()), "html")
    assert page.count("<tbody>") == page.count("</tbody>") == 2
    assert render(compare(runs()), "html").count("<tbody>") == 1


@pytest.mark.parametrize("kind", ["curves", "dots"])
@pytest.mark.parametrize(("style", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_pictures_of_chosen_rows(kind, style, magic, folder, tmp_path, capsys):
    path = tmp_path / f"x.{style}"
    assert cli.main(["plot", str(folder), "--where", "reg=none,l2", "--kind", kind, "-o", str(path)]) == 0
    content = path.read_bytes()
    assert content.startswith(magic)
    if style == "svg":
        assert "sgd, l2" in content.decode() and "dropout" not in content.decode()
    if style == "pdf":
        kept = arranged(compare(where(runs(), [Condition.of("reg=none,l2")])[0]))
        assert draw(kept, kind, "pdf") == content  # no date in it
