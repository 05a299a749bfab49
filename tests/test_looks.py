"""Seeds until it is settled: what the looks spend, how often they are wrong, and the runs that they ask for."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import test_plan
from results import result as fake
from scipy import integrate
from test_verdicts import rows as array_rows

from dlreg.commands.words import seeds_asked
from dlreg.errors import UserError
from dlreg.report.contrasts import _additive
from dlreg.report.judge import Group, judge
from dlreg.report.looks import replay
from dlreg.report.question import Question
from dlreg.report.spending import Looks, spending
from dlreg.report.stats import ALPHA, holm
from dlreg.report.verdicts import Rule
from dlreg.run.result import Result
from dlreg.study.execute import run
from dlreg.study.executor import Executor
from dlreg.study.looks import settle
from dlreg.study.notes import earlier
from dlreg.study.tabulate import table, wanted

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import simulate_looks

make = test_plan.make
LOOKS = Looks(20)


# What is spent


def test_spending_is_its_closed_form():
    """Lan and DeMets (1983), the function like Pocock's boundary, at 5 %: as the integral of its rate, and its ends."""
    for share in (0.0, 0.15, 0.4, 0.6, 1.0):
        rate = integrate.quad(lambda t: ALPHA * (math.e - 1) / (1 + (math.e - 1) * t), 0, share)[0]
        assert spending(share) == pytest.approx(rate, abs=1e-14)
    assert [round(spending(t), 4) for t in (0, 0.2, 0.4, 0.6, 0.8, 1)] == [0, 0.0148, 0.0262, 0.0354, 0.0432, 0.05]


@pytest.mark.parametrize("most", [3, 4, 5, 8, 19, 20, 21, 60, 1000])
def test_looks_spend_all_and_no_more(most):
    looks = Looks(most)
    assert looks.counts[-1] == most and looks.counts == sorted(set(looks.counts)) and min(looks.counts) == 3
    assert sum(looks.levels) == pytest.approx(ALPHA) and min(looks.levels) > 0
    assert len(looks.counts) == len(looks.levels)


def test_the_looks_are_the_promised_ones():
    assert Looks().counts == [3, 5, 8, 12, 20] and Looks(10).counts == [3, 5, 8, 10] and Looks(3).levels == [ALPHA]


# How often it is wrong


@pytest.mark.parametrize("kind", ["equal", "one row 3x", "control 3x", "half 3x", "t(3)"])
@pytest.mark.parametrize("rows", [3, 8])
def test_family_wise_error_whatever_the_stopping(kind, rows, monkeypatch):
    """At most 5 % of tables without a difference get any verdict at any look; looking at 5 % each time breaks that."""
    monkeypatch.setattr(simulate_looks, "TABLES", 600)
    tables = simulate_looks.noises(np.random.default_rng([rows, len(kind)]), rows, 20)[kind]
    verdicts, _ = simulate_looks.looked(tables, LOOKS.counts, LOOKS.levels)
    assert (verdicts != 0).any(-1).mean() <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 600)
    if kind == "equal":
        habit, _ = simulate_looks.looked(tables, LOOKS.counts, [ALPHA] * 5)
        assert (habit != 0).any(-1).mean() > 0.1


def test_rows_at_the_margin_are_rarely_called_equivalent():
    looks, noise = Looks(8), np.random.default_rng(3).normal(size=(300, 4, 8))
    tables = noise + np.r_[0, np.full(3, 4.0)][:, None]
    verdicts, _ = simulate_looks.looked(tables, looks.counts, looks.levels, 4.0)
    assert (verdicts == -1).any(-1).mean() <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 300)
    equal, seeds = simulate_looks.looked(noise, looks.counts, looks.levels, 4.0)
    assert (equal == -1).mean() > 0.9 and seeds.mean() < 7  # and rows that are equal are found to be, with few seeds


def test_large_differences_need_few_seeds():
    tables = np.random.default_rng(4).normal(size=(300, 8, 20)) * math.sqrt(0.5)
    tables[:, 1] += 2.5
    verdicts, seeds = simulate_looks.looked(tables, LOOKS.counts, LOOKS.levels)
    assert (verdicts[:, 0] == 1).mean() > 0.99 and seeds[:, 0].mean() < 8
    assert seeds[:, 1:].mean() > 19  # what is not there is looked for to the end


def at(values):
    """For `replay`: tables (rows, seeds), every row against the first."""
    controls = [None, *[0] * (len(values) - 1)]

    def compared(seeds):
        found = array_rows([row[:n] for row, n in zip(values, seeds, strict=True)])
        return found, [0] * len(values)

    return compared, controls


def test_the_simulation_is_what_a_table_does():
    rng = np.random.default_rng(5)
    tables = rng.normal(size=(8, 5, 20)) * math.sqrt(0.5) + np.array([0, 0, 2, 3, 1])[:, None]
    verdicts, stopped = simulate_looks.looked(tables, LOOKS.counts, LOOKS.levels, 1.0)
    words = {0: "not decided", 1: ("better", "worse"), -1: "equivalent"}
    for one, verdict, seeds in zip(tables, verdicts, stopped, strict=True):
        found = replay(*at(one), Rule(margin=1.0), LOOKS)
        assert found.seeds[1:] == seeds.tolist()
        for d, v in zip(found.found.differences[1:], verdict.tolist(), strict=True):
            assert d.verdict.startswith(words[v])
    assert {-1, 0, 1} <= set(np.unique(verdicts))


def test_intervals_hold_whenever_a_row_stopped():
    """Of all differences of a table together, at the level of the look; true differences from 0 to 3 sd."""
    rng, true, missed = np.random.default_rng(6), np.array([0, 1.0, 3.0, 0, 2.0]), 0
    for noise in rng.normal(size=(60, 5, 20)) * math.sqrt(0.5):
        found = replay(*at(noise + true[:, None]), Rule(), LOOKS).found.differences[1:]
        missed += any(not d.stat.low <= t <= d.stat.high for d, t in zip(found, true[1:], strict=True))
    assert missed / 60 <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 60)


def test_residuals_of_rows_with_fewer_seeds_are_those_of_least_squares():
    rng = np.random.default_rng(7)
    values, n = rng.normal(size=(3, 5, 8)), [8, 8, 3, 5, 8]
    there = np.arange(8) < np.array(n)[:, None]
    row, seed = np.nonzero(there)
    design = np.concatenate([np.eye(5)[row], np.eye(8)[seed]], 1)
    for one, left in zip(values, _additive(values, there), strict=True):
        expected = one[there] - design @ np.linalg.lstsq(design, one[there], rcond=None)[0]
        assert left[there] == pytest.approx(expected, abs=1e-12) and not left[~there].any()


def test_holm_of_a_part_counts_the_rest_as_larger():
    p = np.array([0.01, 0.2, 0.03])
    assert holm(p, 5) == pytest.approx(holm(np.r_[p, 1, 1])[:3])


# What a table says


def group(name, errors, statuses=None, against=0):
    regs = {"none": "none", "a": "dropout", "b": "l2"}
    statuses = statuses or ["done"] * len(errors)
    runs = [fake(regs[name], s, e, status) for s, (e, status) in enumerate(zip(errors, statuses, strict=True))]
    return Group({"reg": name}, runs, against=None if name == "none" else against)


def errors(mean, n=20, sd=0.1, seed=0):
    return (mean + np.random.default_rng(seed).normal(0, sd, n)).tolist()


def judged(*groups, margin=None, most=20):
    return judge(list(groups), 0, Question(["test_error"], looks=Looks(most), margin=margin))


def test_each_row_stops_at_its_look_and_what_came_later_changes_nothing():
    base, close = errors(3), errors(3.02, seed=1)
    far = [3 - 1 + b - 3 + (-1) ** i / 100 for i, b in enumerate(base)]
    spoilt = [*far[:5], *errors(9, 15, seed=2)]  # after it stopped
    for later in (far, spoilt):
        table = judged(group("none", base), group("a", later), group("b", close))
        assert [row.difference and row.difference.verdict for row in table.rows] == [None, "better", "not decided"]
        assert [row.wanted for row in table.rows] == [20, 3, 20]
        assert [len(row.runs) for row in table.rows] == [20, 3, 20] and table.rows[1].difference.stat.n == 3
        assert "Stopped at 3: a" in table.protocol["Looks"] or "stopped at 3: a" in table.protocol["Looks"]
        assert "max_seeds=20 was reached: b" in table.protocol["Looks"].replace("Not", "not")
        assert table.protocol["Seeds"].startswith("auto: rows have 3 to 20")
        assert "at 3, 5, 8, 12, 20 seeds" in table.protocol["Verdicts"] and "3 (1.15 %)" in table.protocol["Looks"]


def test_one_look_is_a_table_as_it_is():
    """max_seeds=3 is one look that spends everything: every number is that of three fixed seeds, to the last bit."""
    groups = [group("none", errors(3, 3)), group("a", errors(2, 3, seed=1)), group("b", errors(3.1, 3, seed=2))]
    looked, plain = judged(*groups, most=3), judge(groups, 0, Question(["test_error"]))
    for one, other in zip(looked.rows, plain.rows, strict=True):
        assert (one.difference, one.metrics, one.best) == (other.difference, other.metrics, other.best)
    for word in plain.protocol.keys() - {"Verdicts"}:
        assert looked.protocol[word] == plain.protocol[word]


def test_a_look_that_lacks_runs_is_no_look():
    base, other = errors(3, 8), errors(3.05, 8, seed=1)
    whole = judged(group("none", base[:5]), group("a", other[:5]))
    assert [row.wanted for row in whole.rows] == [8, 8]  # the next look is waited for
    assert whole.rows[1].difference.verdict == "waits for the look at 8 seeds" and not whole.rows[0].best
    assert whole.rows[1].status == {"done": 5, "missing": 3}
    assert "waits for the look at 8 seeds: a" in whole.protocol["Looks"].replace("Waits", "waits")
    nothing = judged(group("none", []), group("a", []))
    assert [row.wanted for row in nothing.rows] == [3, 3]
    broken = judged(group("none", base), group("a", other, ["done", "interrupted", *["done"] * 6]))
    assert [row.wanted for row in broken.rows] == [3, 3]


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_row_that_lost_a_seed_stops_and_says_so(status):
    base, other = errors(3), errors(3.05, seed=1)
    lost = group("a", other, ["done", status, *["done"] * 18])
    table = judged(group("none", base), lost, group("b", errors(3.02, seed=3)))
    assert [row.wanted for row in table.rows] == [20, 3, 20]
    assert table.rows[1].difference.verdict == f"1 of 3 {status}" and not table.rows[1].best
    control = judged(group("none", base, [status, *["done"] * 19]), group("a", other))
    assert [row.wanted for row in control.rows] == [3, 3]
    far = [b - 1 + (-1) ** i / 100 for i, b in enumerate(base)]
    late = ["done"] * 3 + [status] + ["done"] * 16  # after one row was settled: its verdict is of seeds that are whole
    table = judged(group("none", base, late), group("a", far), group("b", errors(3.02, seed=4)))
    assert [row.difference and row.difference.verdict for row in table.rows] == [
        None,
        "better",
        f"baseline: 1 of 5 {status}",
    ]
    assert [row.wanted for row in table.rows] == [5, 3, 5] and not any(row.best for row in table.rows)


def test_rows_of_which_nothing_can_be_said_stop_at_the_first_look():
    groups = [group("none", errors(3)), group("a", errors(2, seed=1))]
    table = judge(groups, 0, Question(["test_error"], looks=LOOKS, population="images"))  # no run kept a record
    assert [row.wanted for row in table.rows] == [3, 3] and "no record" in table.rows[1].difference.verdict
    for result in (r for g in groups for r in g.results):
        result.val = None
    table = judge(groups, 0, Question(["val_error"], looks=LOOKS))
    assert [(row.wanted, row.difference) for row in table.rows] == [(3, None), (3, None)]
    alone = judge(groups[:1], None, Question(["test_error"], looks=LOOKS))
    assert alone.rows[0].wanted == 3 and alone.protocol["Looks"].startswith("one, at 3 seeds")


def test_equivalence_and_identity_settle_a_row():
    base = errors(3)
    near = [b + 0.01 * (-1) ** i for i, b in enumerate(base)]
    table = judged(group("none", base), group("a", near), group("b", base), margin=0.5)
    assert [row.difference and row.difference.verdict for row in table.rows] == [
        None,
        "equivalent within 0.5",
        "identical",
    ]
    assert [row.wanted for row in table.rows] == [3, 3, 3]


def test_a_control_goes_on_while_a_row_that_is_compared_with_it_does():
    base, far = errors(3), [e - 2 for e in errors(3)]
    chain = [group("none", base), group("a", far), group("b", errors(1.03, seed=5), against=1)]
    table = judged(*chain)
    assert [row.wanted for row in table.rows][1:] == [20, 20] and table.rows[1].difference.stat.n == 3


# What is run


def invent(planned, cells, level=2.0, spread=0.1):
    """Results as if the runs had been made: rows far apart but for the third."""
    of_row = {cell.experiment.run_id: i for i, row in enumerate(planned.rows) for cell in row.cells}
    for cell in cells:
        seed, i = cell.experiment.settings.seed, of_row[cell.experiment.run_id]
        noise = np.random.default_rng([seed, i]).normal(0, spread)
        found = fake(error=level + (5 if i == 1 else 0) + noise)
        changed = {"run_id": cell.experiment.run_id, "config": cell.experiment.settings.model_dump()}
        cell.experiment.folder.mkdir(parents=True)  # fails if a run is made twice
        Result(**{**found.__dict__, **changed}).write(cell.experiment.folder)


MORE = test_plan.STUDY.replace("budgets:", "  - {label: l2, overrides: [reg=l2]}\nbudgets:")


def auto(make, most=8):
    from dlreg.study.plan import Request, plan

    make(MORE)
    return plan(Request(Path("mine.yaml"), looks=Looks(most)))


def test_seeds_are_added_where_they_are_asked_for_and_never_twice(make):
    planned, asked = auto(make), []

    def go_on(cells):
        asked.append(len(cells))
        invent(planned, cells)

    settle(lambda: wanted(planned), go_on)
    assert asked == [9, 4, 6]  # 3 rows, then the control and the undecided one
    shown = table(planned)
    assert [row.difference and row.difference.verdict for row in shown.rows] == [None, "worse", "not decided"]
    assert [row.status for row in shown.rows] == [{"done": 8}, {"done": 3}, {"done": 8}]
    assert "Left out" not in shown.protocol
    settle(lambda: wanted(auto(make)), lambda cells: go_on([c for c in cells if not c.experiment.finished()]))
    assert asked == [9, 4, 6, 0]
    longer = auto(make, 12)
    assert {cell.experiment.settings.seed for cell in wanted(longer)} == set(range(12))  # 8 are there: 12 is next


def test_what_fails_is_not_tried_again_at_once(make):
    planned, asked = auto(make), []
    settle(lambda: wanted(planned), lambda cells: asked.append(len(cells)))
    assert asked == [9]  # nothing came of it: the look waits
    assert "waits for the look at 3 seeds" in table(planned).rows[1].difference.verdict


def test_a_killed_command_goes_on_and_ends_the_same(make, monkeypatch):
    """Real runs: cut off within a look, then again; as if it had never been."""
    from dlreg.study import executor

    quick = ["epochs=1", "data.train_size=64"]

    def plan_in(folder):
        from dlreg.study.plan import Request, plan

        make()
        return plan(Request(Path("mine.yaml"), looks=Looks(5), changes=[*quick, f"outputs={folder}"]))

    straight = table(run(plan_in("straight"), Executor()))
    attempt, calls = executor._attempt, []

    def cut(cell, report):
        calls.append(cell)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return attempt(cell, report)

    monkeypatch.setattr(executor, "_attempt", cut)
    with pytest.raises(KeyboardInterrupt):
        run(plan_in("cut"), Executor())
    monkeypatch.setattr(executor, "_attempt", attempt)
    again = table(run(plan_in("cut"), Executor()))
    assert [(r.name, r.wanted, r.difference, r.metrics["test_error"]) for r in again.rows] == [
        (r.name, r.wanted, r.difference, r.metrics["test_error"]) for r in straight.rows
    ]
    assert again.protocol["Looks"] == straight.protocol["Looks"]


def test_a_table_by_hand_says_how_many_looks_it_has_had(make):
    for seeds in ([0, 1], [0, 1, 2]):
        planned = run(make(seeds=seeds, changes=["epochs=1"]), Executor())
        assert ("Looks" in table(planned).protocol) == (len(seeds) == 3)
    assert (
        table(planned)
        .protocol["Looks"]
        .startswith("2, as far as it is known: these rows were tabulated before at 2 seeds")
    )
    assert earlier(make(seeds=[0], changes=["epochs=1", "optimizer=adam"])) == []  # other rows
    missing = make(seeds=[0, 1, 2, 3], changes=["epochs=1"])
    assert earlier(missing) == [[0, 1], [0, 1, 2]]


# Words


@pytest.mark.parametrize(
    ("words", "seeds", "most", "others"),
    [
        (["reg=l2"], None, None, ["reg=l2"]),
        (["seeds=3", "reg=l2"], [0, 1, 2], None, ["reg=l2"]),
        (["seeds=4,7"], [4, 7], None, []),
        (["seeds=auto"], None, 20, []),
        (["max_seeds=8", "a=b", "seeds=auto"], None, 8, ["a=b"]),
    ],
)
def test_seeds_asked(words, seeds, most, others):
    found, looks, rest = seeds_asked(words)
    assert (found, looks and looks.max_seeds, rest) == (seeds, most, others)


@pytest.mark.parametrize("words", [["max_seeds=8"], ["seeds=5", "max_seeds=8"]])
def test_max_seeds_goes_with_auto(words):
    with pytest.raises(UserError, match="goes with seeds=auto"):
        seeds_asked(words)


@pytest.mark.parametrize("most", ["2", "0", "-3", "many", "3.5", "1001", ""])
def test_max_seeds_is_a_number_of_seeds(most):
    with pytest.raises(UserError, match=r"max_seeds=.* must be a whole number from 3 to 1000"):
        seeds_asked(["seeds=auto", f"max_seeds={most}"])


TINY = ("epochs=1", "data.train_size=64", "model.hidden=[8]", "device=cpu", "threads=1")


def test_a_sweep_adds_seeds(spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("train", "-m", "reg=none,dropout,maxnorm", "seeds=auto", "max_seeds=4", "--margin", "0.001", *TINY)
    status, out, err = spoken(*words)
    assert status == 0 and "9 runs: 0 finished before, 9 to do" in err and "2 runs: 0 finished before, 2 to do" in err
    assert (
        "max_seeds=4 was reached: dropout" in out and "stopped at 3: maxnorm" in out and "11 planned = 11 done" in out
    )
    status, replayed, _ = spoken("table", "outputs", "seeds=auto", "max_seeds=4", "--margin", "0.001")
    assert status == 0 and replayed == out  # from the folders alone
    plain = spoken("table", "outputs")[1]
    assert "UNEQUAL: rows have 3 to 4" in plain and "seeds=auto judges such runs" in plain and "Looks:" not in plain
    assert spoken("table", "outputs", "seeds=3")[0] == 2
    again = spoken(*words)
    assert again[0] == 0 and again[1] == out and "to do" in again[2] and ", 9 to do" not in again[2]
    assert spoken("train", "-m", "reg=none,dropout", "seeds=2", *TINY)[2].startswith("4 runs: 4 finished before")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("-m", "seeds=auto", "seed=1"), "seed and seeds say the same in two ways"),
        (("-m", "seeds=3", "+seed=1,2"), "seed and seeds say the same in two ways"),
        (("-m", "seeds=auto", "max_seeds=2"), "max_seeds=2 must be a whole number from 3 to 1000"),
        (("-m", "max_seeds=9"), "goes with seeds=auto"),
        (("-m", "seeds=soon"), "must be how many (5), which (0,1,2), or auto"),
        (("-m", "seeds=3", "seeds=4"), "seeds is given twice"),
        (("-m", "seeds=auto", "--margin", "0"), "--margin=0 must be a number above 0"),
        (("-m", "seeds=auto", "--margin"), "--margin= must be a number above 0"),
        (("seeds=3",), "are for several runs: dlreg train -m"),
        (("--margin=1",), "are for several runs: dlreg train -m"),
    ],
)
def test_refusals(spoken, tmp_path, monkeypatch, argv, says):
    monkeypatch.chdir(tmp_path)
    status, out, err = spoken("train", *argv)
    assert status == 2 and says in err and out == "" and not list(tmp_path.iterdir())


def test_dry_run_says_at_least_and_at_most(spoken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(MORE)
    status, out, _ = spoken("study", "mine.yaml", "seeds=auto", "max_seeds=8", "--dry-run")
    assert status == 0 and "at least 9 runs: 0 finished, 9 to do" in out and "at most 24 runs" in out
    assert out.count("missing") == 9 and not (tmp_path / "outputs").exists()
