"""Ablations: a recipe's words, its rows, what is said of them; factorials against brute force and least squares."""

import itertools
import json
import re

import numpy as np
import pytest
from results import result
from scipy import stats

from dlreg.errors import UserError
from dlreg.report.bars import bar, reach
from dlreg.report.effects import effects
from dlreg.report.effects_plot import effects_figure
from dlreg.report.effects_words import words
from dlreg.report.factorial import effect, shapley
from dlreg.report.judge import Group, judge
from dlreg.report.plot import file_of, styled
from dlreg.report.question import Question
from dlreg.report.stats import Stat
from dlreg.study.ablation import label, recipe, rows, study

SMALL = ("model.hidden=[8]", "data.train_size=128", "epochs=1", "device=cpu")


# -- the factorial's arithmetic


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_shapley_is_the_mean_over_all_orders(k):
    values = np.random.default_rng(k).normal(size=(2**k, 3))
    found = np.array([shapley(values, i) for i in range(k)])
    orders = list(itertools.permutations(range(k)))
    brute = np.zeros((k, 3))
    for order in orders:
        mask = 0
        for i in order:
            brute[i] += (values[mask | 1 << i] - values[mask]) / len(orders)
            mask |= 1 << i
    np.testing.assert_allclose(found, brute, atol=1e-12)
    np.testing.assert_allclose(found.sum(0), values[-1] - values[0], atol=1e-12)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_effects_are_twice_the_coefficients_of_least_squares(k):
    values = np.random.default_rng(k).normal(size=(2**k, 2))
    coded = np.array([[1 if mask >> i & 1 else -1 for i in range(k)] for mask in range(2**k)])
    terms = [some for size in range(k + 1) for some in itertools.combinations(range(k), size)]
    design = np.array([[np.prod(row[list(term)]) for term in terms] for row in coded])
    fitted = np.linalg.lstsq(design, values, rcond=None)[0]
    for term, coefficient in zip(terms, fitted, strict=True):
        if len(term) in (1, 2):
            np.testing.assert_allclose(effect(values, *term), 2 * coefficient, atol=1e-12)


def test_without_interactions_share_effect_and_every_gain_agree():
    own = np.array([0.5, -0.2, 1.0])
    values = np.array([[sum(own[i] for i in range(3) if mask >> i & 1)] for mask in range(8)])
    for i in range(3):
        assert shapley(values, i)[0] == pytest.approx(own[i]) == effect(values, i)[0]
        assert effect(values, i, (i + 1) % 3)[0] == pytest.approx(0)


# -- the recipe and its rows


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("factorial", [False, True])
def test_no_combination_is_run_twice(k, factorial):
    names = [f"w{i}" for i in range(k)]
    found = rows(names, factorial)
    labels = [label(on, names) for on in found]
    assert len(set(found)) == len(found) == len(set(labels))
    assert len(found) == (2**k if factorial else {1: 2, 2: 4}.get(k, 2 * k + 2))
    assert labels[0] == "all" and "none" in labels
    if k == 2:
        assert "all but w0 = none plus w1" in labels


@pytest.mark.parametrize(
    ("given", "named", "names", "none"),
    [
        (["reg=[dropout,l2]", "aug=crop", "schedule=cosine"], None, ["dropout", "l2", "crop", "cosine"], []),
        (["reg=[dropout,l2]", "reg.dropout.p=0.3", "optimizer=adam"], None, ["dropout", "l2"], ["optimizer=adam"]),
        (["reg=dropout", "schedule=constant", "norm=none"], None, ["dropout"], ["schedule=constant", "norm=none"]),
        (["schedule=cosine", "schedule.warmup=1", "epochs=3"], None, ["cosine"], ["epochs=3"]),
        (["optimizer=adam", "optimizer.lr=0.1", "reg=l2"], "optimizer", ["adam"], ["reg=l2"]),
        (["reg=[dropout,l2]", "reg.l2.alpha=0.1"], "dropout", ["dropout"], ["reg=[l2]", "reg.l2.alpha=0.1"]),
        (["reg=[dropout,l2]", "norm=batch"], "reg", ["dropout", "l2"], ["norm=batch"]),
        (["norm=cosine", "schedule=cosine"], None, ["norm=cosine", "schedule=cosine"], []),
        (["model=resnet", "norm=batch", "reg=l2"], None, ["l2"], ["model=resnet", "norm=batch"]),
        (["model=resnet", "norm=group", "reg=l2"], None, ["group", "l2"], ["model=resnet"]),
    ],
)
def test_words_and_what_is_left_without_them(given, named, names, none):
    found = recipe(given, named)
    assert found.names == names
    assert found.with_only(frozenset()) == none
    assert found.with_only(frozenset(names)) == given


def test_each_row_differs_from_what_it_is_compared_with_in_one_word():
    of = recipe(["reg=[dropout,l2,maxnorm]", "aug=flip"])
    made = study(of, factorial=True)
    on = dict(zip([row.label for row in made.rows], rows(of.names, True), strict=True))
    for row in made.rows:
        if row.against and row.label != "none":
            assert len(on[row.label] ^ on[row.against]) == 1
    assert len([row for row in made.rows if row.against]) == 2 * 4 + 1


# -- what is said of results


def table_of(names, values, factorial=False, lost=()):
    """A judged table of these words; `values` gives the error of a row and seed, `lost` the rows whose seed 0 diverged."""
    every = rows(names, factorial)
    labels = [label(on, names) for on in every]
    groups = []
    for i, (on, name) in enumerate(zip(every, labels, strict=True)):
        runs = [result(seed=s, error=values(on, s), epochs=2 + i) for s in range(4)]
        if name in lost:
            runs[0] = result(seed=0, status="diverged", epochs=2 + i)
        against = "all" if len(on) in (0, len(names) - 1) else "none" if len(on) == 1 else None
        groups.append(Group({"method": name}, runs, against=labels.index(against) if against else None))
    return judge(groups, None, Question(["test_error"])), every


def additive(on, seed):
    return 10 + 0.3 * seed - 2 * ("a" in on) + 1 * ("b" in on) + 0.01 * ((seed * 7 + len(on) * 3) % 5)


@pytest.mark.parametrize("factorial", [False, True])
def test_gains_have_one_sign_whichever_way_they_are_measured(factorial):
    names = ["a", "b", "c", "d"]
    found = effects(*_arguments(names, additive, factorial))
    for kind in (found.beside, found.alone):
        assert kind["a"].verdict == "helps" and kind["a"].stat.mean == pytest.approx(2, abs=0.1)
        assert kind["b"].verdict == "hurts" and kind["b"].stat.mean == pytest.approx(-1, abs=0.1)
        assert kind["c"].verdict == "not decided"
        assert all(g.stat.low <= g.stat.mean <= g.stat.high for g in kind.values())
    assert found.total.stat.mean == pytest.approx(1, abs=0.1)
    assert (found.factorial is not None) == factorial
    told = words(found)
    assert told["In words"].startswith("All 4 together lower the test error by ")
    assert "a: alone it lowers the test error by 2.0" in told["In words"] and "everything costs 2.0" in told["In words"]
    assert "b: alone it raises the test error by 1.0" in told["In words"] and "everything gains 1.0" in told["In words"]
    assert {"Effects", "Interactions", "Factorial"} <= set(told) if factorial else "Effects" not in told


def _arguments(names, values, factorial=False, lost=()):
    table, every = table_of(names, values, factorial, lost)
    return table, names, every


def test_a_gain_is_its_difference_in_the_table_to_the_digit():
    table, names, every = _arguments(["a", "b", "c"], additive)
    found = effects(table, names, every)
    d = {row.label["method"]: row.difference for row in table.rows}
    for name in names:
        beside, alone = d[f"all but {name}"].stat, d[f"none plus {name}"].stat
        assert (found.beside[name].stat.low, found.beside[name].stat.high) == (beside.low, beside.high)
        assert (found.alone[name].stat.low, found.alone[name].stat.high) == (-alone.high, -alone.low)


def test_the_factorials_intervals_are_those_over_seeds():
    table, names, every = _arguments(["a", "b", "c"], additive)
    errors = {on: [100 * r.test["last"]["error"] for r in row.runs] for on, row in zip(every, table.rows, strict=True)}
    per_seed = [
        np.mean([errors[on][s] for on in every if "a" not in on])
        - np.mean([errors[on][s] for on in every if "a" in on])
        for s in range(4)
    ]
    wanted = stats.t.interval(0.95, 3, np.mean(per_seed), stats.sem(per_seed))
    stat = effects(table, names, every).factorial.main["a"]
    assert (stat.low, stat.high) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("lost", "silent"),
    [
        ("all but a", {("beside", "a")}),
        ("none plus b", {("alone", "b")}),
        ("all", {("beside", n) for n in "abcd"}),
        ("none", {("alone", n) for n in "abcd"}),
    ],
)
def test_a_diverged_run_takes_away_exactly_the_statements_that_rest_on_it(lost, silent):
    found = effects(*_arguments(list("abcd"), additive, True, (lost,)))
    for kind in ("beside", "alone"):
        for name, gain in getattr(found, kind).items():
            assert (gain.stat is None) == ((kind, name) in silent), (kind, name)
            if gain.stat is None:
                assert "1 of 4 diverged" in gain.verdict
    assert found.factorial is None and found.why_not == f"{lost}: 1 diverged"
    told = words(found)
    assert "1 of 4 diverged" in told["In words"] and lost in told["Factorial"] and "account" not in told["In words"]
    assert file_of(styled(lambda: effects_figure(found, table_of(list("abcd"), additive)[0])), "png")


# -- bars


@pytest.mark.parametrize(
    ("stat", "drawn"),
    [
        (Stat(3, 4.0, 1.0, 2.0, 6.0), "    │█├▓▓─┤"),
        (Stat(3, 0.0, 0.0, -2.0, 2.0), "  ├─│─┤"),
        (Stat(3, -4.0, 1.0, -9.0, -1.0), "◂▓▓┤│"),
        (Stat(1, 2.0, None, None, None), "    │██"),
    ],
)
def test_bars_start_at_zero_and_mark_their_interval(stat, drawn):
    assert bar(stat, (-4.0, 6.0), 11).rstrip() == drawn


@pytest.mark.parametrize("means", [[0.0], [1.0, 2.0], [-1.0, 3.0], [1e-9]])
def test_the_scale_holds_zero_and_every_mean_and_is_not_blown_up_by_an_interval(means):
    low, high = reach([Stat(2, m, 1.0, m - 1000, m + 1000) for m in means])
    assert (
        low <= min([0, *means])
        and high >= max([0, *means])
        and high - low <= 3 * (max([0, *means]) - min([0, *means]) or 1)
    )


# -- the command


@pytest.fixture
def ablate(tmp_path, monkeypatch, spoken):
    monkeypatch.chdir(tmp_path)
    return lambda *argv: spoken("ablate", *SMALL, *argv)


def test_run_once_then_every_format_from_the_same_runs(ablate, tmp_path):
    line = ("reg=[dropout,l2]", "reg.dropout.p=0.3", "seeds=2")
    status, out, _ = ablate(*line, "--dry-run")
    assert (
        status == 0
        and "8 runs: 0 finished, 8 to do, how long is known once one ran" in out
        and not (tmp_path / "outputs").exists()
    )
    status, out, err = ablate(*line, "--plot", "a.png")
    assert status == 0 and "8 to do" in err and (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert "all but dropout = none plus l2" in out and "beside the others" in out
    assert "interaction  " in out and "Interactions:" not in out  # drawn, and so not listed
    for style in ("csv", "json"):
        status, out, err = ablate(*line, "--format", style, "-o", f"t.{style}", "--factorial")
        assert (status, out) == (0, "") and "8 finished before, 0 to do" in err
        assert "none plus l2" in (tmp_path / f"t.{style}").read_text()
    found = json.loads((tmp_path / "t.json").read_text())
    assert {"In words", "Ablation", "Effects"} <= set(found["protocol"])
    assert len({run for row in found["rows"] for run in row["runs"]}) == 8
    effects = found["effects"]
    (without,) = (row for row in found["rows"] if row["label"]["method"].startswith("all but dropout"))
    gain = effects["beside"]["dropout"]
    assert gain["verdict"] and gain["stat"]["mean"] == pytest.approx(without["difference"]["stat"]["mean"])
    shares = sum(stat["mean"] for stat in effects["shares"].values())
    assert shares == pytest.approx(effects["total_of_shares"]["mean"])  # Shapley's shares are all of it
    assert {*map(frozenset, (i["words"] for i in effects["interactions"]))} == {frozenset(("dropout", "l2"))}
    status, out, _ = ablate("reg=dropout", "reg.dropout.p=0.3", "seeds=2")
    assert status == 0 and re.search(r"dropout +beside the others.+\n.+alone", out)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("reg=none",), "nothing to leave out"),
        (("optimizer=adam",), "nothing to leave out"),
        (("reg=dropout", "words=l2"), "words=l2"),
        (("reg=dropout", "words=droput"), "Did you mean dropout?"),
        (("schedule=constant", "reg=l2", "words=schedule"), "runs anyway"),
        (("reg=droput",), "droput"),
        (("reg=l2", "reg.dropout.p=0.3"), "reg.dropout"),
        (("reg=l2", "seed=3"), "give seeds=5 or seeds=0,1,2"),
        (("reg=l2", "seeds=none"), "how many"),
        (("reg=l2", "budget=smoke"), "budget"),
        (("reg=l2", "aug"), "KEY=VALUE"),
        (("reg=l2", "reg=l1"), "given twice"),
        (("reg=dropout,l2",), "reg"),
        (("reg=l2", "--jobs", "0"), "at least 1"),
        (("reg=l2", "--plot", "x.gif"), ".png or .svg"),
        (("reg=l2", "-o", "x.md"), "needs --format"),
        (("reg=[l2,l1,dropout,maxnorm,ema,swa,label_smoothing]", "--factorial"), "7 words are 128 rows"),
    ],
)
def test_refusals(ablate, tmp_path, argv, says):
    status, out, err = ablate(*argv)
    assert status == 2 and says in err and out == "" and len(err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_too_many_words_are_refused_by_the_study():
    with pytest.raises(UserError, match="at most 6"):
        study(recipe(["reg=[l2,l1,dropout,maxnorm,ema,swa,label_smoothing]"]), factorial=True)
