"""Tuning: spaces, samplers, what chooses, as many trials for every row, the same points again, the expected best of n."""

import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from results import result as fake
from test_plan import STUDY, make  # noqa: F401

from dlreg.config.compose import compose
from dlreg.errors import UserError
from dlreg.report.metrics import JUDGED
from dlreg.report.tuning import expected_best, quantiles, stable_from, weights
from dlreg.run.experiment import Experiment
from dlreg.run.result import Result
from dlreg.study import sampling, tuning
from dlreg.study.execute import run
from dlreg.study.executor import Executor
from dlreg.study.file import Study
from dlreg.study.overrides import varied
from dlreg.study.sampling import propose, sample
from dlreg.study.spaces import Interval, axis, edges, gaps
from dlreg.study.tabulate import table
from dlreg.study.tuning import Criterion

LR, P = Interval(low=1e-3, high=1, log=True), Interval(low=0, high=0.8)
DEPTH = Interval(low=1, high=6, whole=True)
BOTH = """rows:
  - {label: none, overrides: [reg=none], tune: {optimizer.lr: {low: 0.01, high: 1, log: true}}}
  - label: dropout
    overrides: [reg=dropout]
    tune: {reg.dropout.p: "interval(0,0.8)", optimizer.lr: "tag(log,interval(0.01,1))"}
trials: 3
budgets:"""
INTERVALS = STUDY[: STUDY.index("rows:")] + BOTH + STUDY[STUDY.index("budgets:") + len("budgets:") :]


def brute(scores, n):
    """The smallest of every subset of n."""
    return np.array([min(subset) for subset in itertools.combinations(scores, n)])


@pytest.mark.parametrize(
    "scores", [[3.0], [2.0, 1.0], [5, 4, 4, 9, 1, 7.5, 4], list(np.random.default_rng(0).normal(size=11))]
)
def test_the_expected_best_is_the_mean_over_all_subsets(scores):
    wanted = [brute(scores, n).mean() for n in range(1, len(scores) + 1)]
    np.testing.assert_allclose(expected_best(scores), wanted, rtol=1e-12)
    for n in range(1, len(scores) + 1):
        found = quantiles(scores, n, (0.25, 0.5, 0.75))
        np.testing.assert_array_equal(found, np.quantile(brute(scores, n), (0.25, 0.5, 0.75), method="inverted_cdf"))


def test_the_expected_best_is_unbiased_for_fewer_trials():
    """Of 8 exponential scores, over many searches: the least of n of them has the mean 1/n."""
    ordered = np.sort(np.random.default_rng(1).exponential(size=(20_000, 8)))
    for n in range(1, 9):
        assert (ordered @ weights(8, n)).mean() == pytest.approx(1 / n, rel=0.03)


def test_a_diverged_trial_is_no_number():
    assert expected_best([np.inf, 1.0, 2.0]).tolist() == [np.inf, pytest.approx(4 / 3), 1.0]
    assert np.isfinite(expected_best(np.arange(300.0))).all()


def test_whether_the_order_depends_on_the_number_of_trials():
    a, b = np.array([5.0, 3.0, 1.0, 1.0]), np.array([4.0, 3.5, 2.0, 2.0])
    assert stable_from([a, b]) == 2 and stable_from([a, a + 1]) == 1
    assert stable_from([np.array([5.0, 4.0, 1.0]), np.array([3.0, 3.0, 2.0])]) is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([0, 0.8], [0, 0.8]),  # a list is a list of values, of two numbers as well
        (["a", "b", "c"], ["a", "b", "c"]),
        ({"low": 0, "high": 0.8}, P),
        ("interval(0,0.8)", P),
        ({"low": 1e-3, "high": 1, "log": True}, LR),
        ("tag(log,interval(1e-3,1))", LR),
        ({"low": 1, "high": 6, "int": True}, DEPTH),
        ("int(interval(1,6))", DEPTH),
        ("choice(32,64)", ["32", "64"]),
        ("range(1,4)", ["1", "2", "3"]),
    ],
)
def test_yaml_and_hydras_words_say_the_same(given, wanted):
    assert axis(given) == wanted


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "must be a list of values"),
        (0.5, "must be a list of values"),
        ("0.5", "must be a list of values"),
        ("interval(1", "must be a list of values"),
        ("interval(1,0)", "low=1 must be less than high=0"),
        ("interval(1,1)", "must be less than"),
        ("tag(log,interval(0,1))", "above 0 on a logarithmic scale"),
        ("tag(lgo,interval(1,2))", "tag lgo says nothing"),
        ("tag(log,choice(1,2))", "tag log says nothing of a list"),
        ({"low": 0.5, "high": 2, "int": True}, "whole numbers"),
        ({"low": 0, "hihg": 1}, "high: Field required"),
        ({"low": 0, "high": float("inf")}, "finite"),
    ],
)
def test_what_is_no_space_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        axis(given)


@pytest.mark.parametrize(
    "space", [P, LR, DEPTH, Interval(low=2, high=512, log=True, whole=True), Interval(low=0.12344, high=0.12346)]
)
def test_an_interval_is_covered_and_never_left(space):
    values = [space.at(u) for u in np.linspace(0, 1, 1001)[:-1]]
    assert values == sorted(values) and space.low <= values[0] and values[-1] <= space.high
    assert values[0] == space.low and values[-1] == pytest.approx(space.high, rel=0.02)
    assert [float(space.text(v)) for v in values] == values  # what is written is what is tried
    if space == DEPTH:
        assert {values.count(v) for v in range(1, 7)} <= {166, 167}


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_points_are_the_same_again_and_more_begin_with_fewer(sampler):
    space = {"optimizer.lr": LR, "reg.dropout.p": P, "model.depth": DEPTH, "norm": ["none", "batch"]}
    many = sample(space, 40, 7, sampler)
    assert many == sample(space, 40, 7, sampler) and many[:13] == sample(space, 13, 7, sampler)
    assert len(set(many)) == 40 and many != sample(space, 40, 8, sampler)
    for word in (word for point in many for word in point):
        key, value = word.split("=")
        assert (
            value in space[key] if isinstance(space[key], list) else space[key].low <= float(value) <= space[key].high
        )


def test_rows_that_share_a_key_try_the_same_values_of_it():
    alone = sample({"optimizer.lr": LR}, 9, 7, "random")
    both = sample({"reg.dropout.p": P, "optimizer.lr": LR}, 9, 7, "random")
    assert [point[-1] for point in both] == [point[0] for point in alone]


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_small_space_is_tried_whole_and_nothing_twice(sampler):
    assert sample({"k": DEPTH}, 6, 0, sampler) == [(f"k={v}",) for v in range(1, 7)]
    assert len(set(sample({"k": DEPTH, "j": ["a", "b"]}, 11, 0, sampler))) == 11


def test_sobol_leaves_no_large_gaps():
    values = sorted(P.position(float(word.split("=")[1])) for (word,) in sample({"p": P}, 16, 3, "sobol"))
    assert all(i / 16 <= v + 1e-3 and v - 1e-3 <= (i + 1) / 16 for i, v in enumerate(values))  # one in each sixteenth


@pytest.mark.parametrize(
    "point",
    [("optimizer.lr=0.2",), ("optimizer.lr=1",), ("reg.dropout.p=0", "epochs=3"), ("model.hidden=[4, 5]",),
     ("optimizer=adam", "optimizer.lr=0.01"), ("reg=[dropout,l2]", "reg.l2.alpha=0.5"), ("optimizer=momentum",)],
)  # fmt: skip
def test_a_point_is_what_its_overrides_compose_to(point):
    words = ["reg=dropout", "model.hidden=[8]", "optimizer=momentum", "optimizer.momentum=0.5", "epochs=1"]
    ((chosen, found),) = varied(words, [point], ())
    assert set(point) <= set(chosen) and ("optimizer.momentum=0.5" in chosen) == ("optimizer=adam" not in point)
    assert Experiment.of(found).run_id == Experiment.of(compose(chosen)).run_id


@pytest.mark.parametrize(
    ("space", "chosen", "flagged"),
    [
        ({"lr": [0.1, 0.3, 1]}, "lr=1", True),
        ({"lr": [0.1, 0.3, 1]}, "lr=0.3", False),
        ({"lr": [0.3, 1, 0.1]}, "lr=0.1", True),
        ({"lr": [0.1]}, "lr=0.1", False),
        ({"norm": ["none", "batch"]}, "norm=none", False),
        ({"lr": LR}, "lr=0.0012", True),
        ({"lr": LR}, "lr=0.8", True),
        ({"lr": LR}, "lr=0.03", False),
        ({"p": P}, "p=0.03", True),
        ({"p": P}, "p=0.05", False),
        ({"k": DEPTH}, "k=6", True),
        ({"k": DEPTH}, "k=5", False),
    ],
)
def test_a_choice_on_the_edge_is_flagged(space, chosen, flagged):
    assert bool(edges(space, (chosen,))) is flagged


@pytest.mark.parametrize(
    ("space", "tried", "chosen", "left_out"),
    [
        (
            {"lr": Interval(low=0.01, high=1, log=True)},
            (0.0113, 0.0698, 0.1116, 0.8989),
            0.1116,
            ["lr=0.1116 and 0.8989"],
        ),
        ({"lr": Interval(low=0.01, high=1, log=True)}, (0.0113, 0.0698, 0.1116, 0.3, 0.8989), 0.1116, []),
        ({"lr": Interval(low=0.01, high=1, log=True)}, (0.1,), 0.1, ["lr=0.01 and 0.1", "lr=0.1 and 1"]),
        ({"p": Interval(low=0, high=0.9)}, (0.3, 0.5), 0.5, ["p=0.5 and 0.9"]),
        ({"p": Interval(low=0, high=0.9)}, (0.3, 0.5), 0.3, []),  # .3 is a third, and no more
        ({"k": Interval(low=1, high=3, whole=True)}, (1, 2, 3), 2, []),  # there is nothing between
        ({"norm": ["none", "batch"]}, ("none", "batch"), "none", []),
    ],
)
def test_a_choice_beside_which_much_was_left_out_is_flagged(space, tried, chosen, left_out):
    (key,) = space
    found = gaps(space, [(f"{key}={value}",) for value in tried], (f"{key}={chosen}",))
    assert [text.split("between ")[1].split(":")[0] for text in found] == left_out


def test_sobol_leaves_no_such_gap():
    space = {"lr": Interval(low=0.01, high=1, log=True)}
    for seed in range(50):
        points = sample(space, 8, seed, "sobol")
        assert not any(gaps(space, points, chosen) for chosen in points)


def test_the_edge_is_in_the_footer_and_the_budget_of_every_row(make, capfd):  # noqa: F811
    done = run(make(INTERVALS), Executor())
    footer = table(done).protocol
    assert footer["Tuning"].startswith(
        "By validation error on seed 1000 (not reported), sobol search. none: 3 settings"
    )
    assert "test error" not in capfd.readouterr().err.split("6 runs:")[1].split("4 runs:")[0]  # not while choosing
    assert "dropout: 3 settings, chosen reg.dropout.p=" in footer["Tuning"] and "The trials took" in footer["Tuning"]
    for row in done.rows:
        assert all(("is on the edge of" in footer["Tuning"]) for _ in edges(row.search.space, row.chosen))
    assert footer["Trials"].startswith("expected lowest validation error % after 1, 2, 3 trials: none ")
    rows = table(done).rows
    assert [len(row.tuning.tried) for row in rows] == [3, 3]
    assert rows[0].tuning.best_of[-1] == min(
        100 * t.cells[0].experiment.result().val["last"]["error"] for t in done.rows[0].trials
    )


@pytest.mark.parametrize("metric", JUDGED)
@pytest.mark.parametrize("select", ["last", "best_val"])
def test_what_is_judged_chooses_and_the_test_set_never(metric, select):
    """Of two trials the one that is better in the counterpart of the judged column, whatever the test set says."""
    split, key, _ = tuning.COUNTERPARTS.get(metric, tuning.ERROR)
    trials = []
    for value in (0.2, 0.1):
        found = fake(error=50 * value)  # the second is worse in everything else that is not of the test set
        for metrics in (found.train, *found.val.values()):
            metrics.update(loss=1 - value, error=1 - value, ece=1 - value, top5_error=1 - value)
        (found.train if split == "train" else found.val[select])[key] = value
        trials.append(tuning.Trial((), (Finished(found),)))
    assert Criterion(metric, select).score(trials[1])[0] == 0.1
    search = tuning.Search({"lr": [1, 2]}, 0, "random", 0, Criterion(metric, select), None)
    assert search.choose(trials) is trials[1]


class Finished:
    """A cell whose run is done."""

    over = True

    def __init__(self, result: Result) -> None:
        self.experiment, self.result = self, result

    def finished(self):
        return self.result


def test_a_study_judged_on_training_loss_is_tuned_on_it():
    from dlreg.study.file import load, studies

    study = load(studies()["optimizers"])
    assert study.columns[0] == "train_loss" and Criterion(study.columns[0]).name == "training loss"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("trials: 3", "", "say how often, trials=20"),
        ("trials: 3", "trials: 0", "trials"),
        ("trials: 3", "trials: 3\nsearch: tree", "search"),
        ("trials: 3", "trials: 3\ntune_seeds: [0]", "tuning seed"),
        ("epochs=1]", "epochs=1, data.val_size=0]", "data.val_size=0 leaves none"),
        ("reg.dropout.p:", "reg.dropuot.p:", "no option of this row has such a key. Did you mean reg.dropout.p"),
        ("reg.dropout.p:", "seed:", "seed is not a thing to tune"),
        (
            "interval(0,0.8)",
            "interval(0,1.001)",
            "p is tuned in 0 to 1.001: reg.dropout.p=1.001 must be less than 1",
        ),
        (
            '[reg=dropout]\n    tune: {reg.dropout.p: "interval(0,0.8)", ',
            "[reg=none]\n    tune: {",
            "are the same experiment",
        ),
        ("interval(0,0.8)", "interval(0.8)", "must be a list of values"),
    ],
)
def test_mistakes_are_named_before_any_run(make, tmp_path, old, new, says):  # noqa: F811
    with pytest.raises(UserError, match=says):
        make(INTERVALS.replace(old, new))
    assert not (tmp_path / "outputs").exists()


def test_tpe_without_optuna_names_the_extra(make, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sampling.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dlreg\[tune\]'"):
        make(INTERVALS.replace("trials: 3", "trials: 3\nsearch: tpe"))


def test_a_sampler_that_learns_asks_again_and_goes_on_where_it_was(make, monkeypatch):  # noqa: F811
    """Each round once; cut short, the same points; nothing is run twice."""
    asked = []

    def halved(space, tried, seed):
        asked.append(len(tried))
        best = min(tried, key=lambda found: found[1])[0]
        return tuple(
            f"{key}={space[key].text((float(w.split('=')[1]) + space[key].low) / 2)}"
            for key, w in zip(space, best, strict=True)
        )

    monkeypatch.setattr(tuning, "propose", halved)
    monkeypatch.setattr(tuning, "STARTUP", 2)
    monkeypatch.setattr("dlreg.study.plan.refuse_missing", lambda sampler: None)
    text = INTERVALS.replace("trials: 3", "trials: 3\nsearch: tpe")
    planned = make(text)
    assert [len(row.trials) for row in planned.rows] == [2, 2] and planned.unknown == 2 * 2 + 2 * 1
    done = run(planned, Executor())
    assert [len(row.trials) for row in done.rows] == [3, 3] and done.unknown == 0 and len(done.cells) == 4
    again = make(text)
    assert [row.chosen for row in again.rows] == [row.chosen for row in done.rows]
    assert [[t.setting for t in row.trials] for row in again.rows] == [
        [t.setting for t in row.trials] for row in done.rows
    ]
    assert all(cell.experiment.finished() for cell in again.cells)
    best = table(again).rows[1].tuning.best_of
    assert table(again).rows[1].tuning.adaptive and (np.diff(best) <= 0).all()


def test_tpe_is_a_pure_function_of_the_trials_and_finds_the_low_side():
    pytest.importorskip("optuna")
    space = {"lr": LR, "k": DEPTH, "norm": ["none", "batch"]}
    tried = []
    for point in sample(space, 10, 0, "random"):
        tried.append((point, LR.position(float(point[0].split("=")[1]))))
    tried[3] = (tried[3][0], None)  # diverged
    assert propose(space, tried, 5) == propose(space, tried, 5)
    while len(tried) < 30:
        point = propose(space, tried, 5)
        assert LR.low <= float(point[0].split("=")[1]) <= LR.high and point[1] in [f"k={k}" for k in range(1, 7)]
        tried.append((point, LR.position(float(point[0].split("=")[1]))))
    assert np.mean([score for _, score in tried[20:]]) < 0.3


SMALL = ("data.train_size=128", "model.hidden=[8]", "epochs=1", "device=cpu", "seeds=2")
SPACES = ("reg=none,dropout", "reg.dropout.p=interval(0,0.8)", "optimizer.lr=tag(log,interval(0.01,1))")


@pytest.fixture
def dlreg(tmp_path, monkeypatch, spoken):
    monkeypatch.chdir(tmp_path)
    return spoken


def test_tune_from_the_command_line(dlreg, tmp_path):
    words = ("tune", *SPACES, *SMALL, "trials=2")
    status, out, _ = dlreg(*words, "--dry-run")
    assert status == 0 and out.count("missing ") == 5 and "8 runs: 0 finished, 8 to do" in out
    assert not (tmp_path / "outputs").exists()
    status, out, err = dlreg(*words)
    assert status == 0 and "4 runs: 0 finished before, 4 to do" in err and "4 planned = 4 done" in out
    (kept,) = (tmp_path / "outputs" / ".studies").glob("*.yaml")
    status, again, err = dlreg("study", str(kept))
    assert again == out and err.count(" 0 to do") == 2  # the same runs under both names
    content = json.loads(dlreg("table", str(kept), "--format", "json")[1])
    assert [row["label"]["method"] for row in content["rows"]] == ["none", "dropout"]
    assert [len(row["tuning"]["best_of"]) for row in content["rows"]] == [2, 2]
    best = [row["tuning"]["best_of"] for row in content["rows"]]
    frame = pd.read_csv(io.StringIO(dlreg("table", str(kept), "--format", "csv")[1]))
    assert frame[["tuning_expected_best_1", "tuning_expected_best_2"]].to_numpy() == pytest.approx(np.array(best))
    assert dlreg("plot", str(kept), "--kind", "tuning", "-o", "t.svg")[0] == 0
    assert ">dropout<" in (tmp_path / "t.svg").read_text()
    status, out, _ = dlreg("study", str(kept), "trials=3", "--dry-run")
    assert out.count("done ") == 4 and out.count("missing ") == 3  # more trials begin with the fewer


def test_what_makes_rows_and_what_is_tuned(dlreg):
    words = ("optimizer=sgd,momentum", "optimizer.momentum=0.5,0.9", "batch_size=tag(tune,choice(32,64))", *SMALL)
    status, out, _ = dlreg("tune", *words, "--dry-run")
    assert status == 0 and out.count("batch_size=32 ") == out.count("batch_size=64 ") == 3
    assert out.count("optimizer=sgd ") == 2 and out.count("optimizer=momentum optimizer.momentum=0.9 ") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("reg=none,dropout",), "nothing to tune"),
        (("optimizers",), "a study tunes by itself: dlreg study NAME"),
        ((*SPACES, "budget=laptop"), "a study has budgets"),
        ((*SPACES, "trials=0"), "trials=0 must be a number from 1"),
        ((*SPACES, "trials=many"), "trials=many must be a number"),
        ((*SPACES, "search=sobel"), "Did you mean sobol?"),
        ((*SPACES, "tune_seeds=x"), "tune_seeds=x must be which seeds"),
        ((*SPACES, "tune_seeds=0"), "seeds=0 is a tuning seed"),
        ((*SPACES, "seed=1"), "give seeds=5 or seeds=0,1,2"),
        ((*SPACES, "seeds=1", "seeds=2"), "given twice"),
        ((*SPACES, "reg.dropout.q=interval(0,1)"), "no row of this command has such a key. Did you mean reg.dropout.p"),
        ((*SPACES, "epochs=interval(1,3)"), "epochs="),
        ((*SPACES, "outputs=choice(a,b)"), "outputs"),
        ((*SPACES, "optimizer.momentum=interval(1,0)"), "low=1 must be less than high=0"),
        ((*SPACES, "reg.dropout.p.q=tag(lgo,interval(0,1))"), "tag lgo says nothing"),
        ((*SPACES, "--columns", "acc"), "acc is not one"),
        ((*SPACES, "--jobs", "0"), "at least 1"),
        (("reg=none", "reg.dropout.p=interval(0,1)"), "no row of this command has such a key"),
        (("optimzer=adam", *SPACES), "optimzer"),
    ],
)  # fmt: skip
def test_refusals(dlreg, tmp_path, words, says):
    status, out, err = dlreg("tune", *words)
    assert status == 2 and says in err and out == "" and len(err.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_the_command_and_a_study_search_alike_unless_told(dlreg, tmp_path):
    words = ("reg=dropout", "reg.dropout.p=interval(0,0.8)", "trials=4")
    plans = []
    for search in ([], ["search=sobol"], ["search=random"]):
        status, out, _ = dlreg("tune", *words, *search, "--dry-run")
        assert status == 0
        plans.append([line for line in out.splitlines() if line.startswith("missing")])
    assert plans[0] == plans[1] != plans[2] and Study.model_fields["search"].default == "sobol"


def test_a_grid_is_tried_as_a_grid(dlreg):
    status, _, err = dlreg("study", "optimizers", "trials=5", "--dry-run")
    assert status == 2 and "no row tunes an interval; lists of values are tried whole" in err
