"""Linear models on fixed bases: closed forms against numpy and scikit-learn in float64, printed coefficients, refusals."""

import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLOSED_FORM
from sklearn.linear_model import Lasso, Ridge, orthogonal_mp

from dlreg.commands.surface import run as surface
from dlreg.config.build import build
from dlreg.config.compose import compose
from dlreg.data.curves import TEN
from dlreg.data.curves import quadratic as murphy
from dlreg.errors import UserError
from dlreg.optimizer.closed_form import BestSubset, LeastSquares, OrthogonalMatchingPursuit
from dlreg.optimizer.coordinate_descent import CoordinateDescent
from dlreg.report.judge import compare
from dlreg.report.metrics import METRICS
from dlreg.report.plot import figure
from dlreg.report.run_page import run_page
from dlreg.report.study_page import study_page
from dlreg.report.target import targeted
from dlreg.run.result import read

EXACT = (
    "data.train_size=null",
    "model=polynomial",
    "loss=mse",
    "optimizer=least_squares",
    "precision=fp64",
    "epochs=1",
)
FULL = "batch_size=full"

# Bishop (2006), Table 1.1: what is printed. Its column "M = 6" is that of degree 3.
PRINTED = {
    0: [0.19],
    1: [0.82, -1.27],
    3: [0.31, 7.99, -25.43, 17.37],
    9: [0.35, 232.37, -5321.83, 48568.31, -231639.30, 640042.26, -1061800.52, 1042400.18, -557682.99, 125201.43],
}


def coefficients(result):
    """b, w_1, w_2, ... of a run on one feature."""
    content = torch.load(result.folder / "weights", weights_only=True)["last"]
    weight, bias = content["net.layer.weight"], content["net.layer.bias"]
    return torch.cat([bias, weight[0]]).double().numpy()


def data(n=40, m=6, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, m))
    return x, x @ rng.normal(size=(m, outputs)) + 0.3 * rng.normal(size=(n, outputs))


def solve(optimizer, x, y, strength=0.0, **keys):
    made = optimizer([torch.nn.Parameter(torch.zeros(1))], **keys)
    return made.solve(torch.from_numpy(x), torch.from_numpy(y), strength).numpy()


@pytest.fixture
def fitted(run, settings):
    def go(*words):
        result = run(*EXACT, FULL, *words)
        assert result.status == "done", result.message
        result.folder = Path(settings().outputs) / result.run_id
        return result

    return go


# --- least squares


def test_the_printed_coefficients(fitted):
    """Every printed digit, and the erratum: what stands over degree 6 is degree 3, and degree 6 is another polynomial."""
    for degree in (0, 1, 3):
        found = coefficients(fitted("data=sine10", f"model.degree={degree}"))
        assert [f"{w:.2f}" for w in found] == [f"{w:.2f}" for w in PRINTED[degree]], degree
    six = coefficients(fitted("data=sine10", "model.degree=6"))
    assert [f"{w:.2f}" for w in six] == ["0.35", "2.62", "32.10", "-206.27", "399.00", "-332.71", "105.16"]


def test_the_printed_coefficients_of_degree_nine(fitted):
    """They are those of the six-digit targets to seven digits, and no farther off than half a unit of a target's sixth digit
    moves them; and they are exact, by rational arithmetic."""
    found = coefficients(fitted("data=sine10", "model.degree=9"))
    inverse = exact_inverse([[Fraction(n, 9) ** k for k in range(10)] for n in range(10)])
    exact = [float(sum(a * Fraction(str(t)) for a, t in zip(row, TEN, strict=True))) for row in inverse]
    reach = [float(sum(map(abs, row))) * 5e-7 + 0.005 for row in inverse]
    assert found == pytest.approx(exact, rel=1e-7)
    assert found[2:] == pytest.approx(PRINTED[9][2:], rel=3e-7)
    assert all(abs(w - p) <= r for w, p, r in zip(exact, PRINTED[9], reach, strict=True))


def exact_inverse(matrix):
    """Of a matrix of fractions, by elimination."""
    n = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        p = next(j for j in range(i, n) if rows[j][i])
        rows[i], rows[p] = rows[p], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for j in range(n):
            if j != i:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


def test_training_errors_of_the_ten_points(fitted):
    found = [math.sqrt(fitted("data=sine10", f"model.degree={m}").train["mse"]) for m in (0, 1, 3, 6, 9)]
    assert found[:4] == pytest.approx([0.6143, 0.4622, 0.1870, 0.1817], abs=5e-5)
    assert found[4] < 1e-6


@pytest.mark.parametrize(("degree", "train", "test"), [(1, 13.80, 16.45), (2, 3.14, 5.84), (10, 1.19, 7.42)])
def test_murphys_degrees(degree, train, test, fitted):
    result = fitted("data=quadratic", f"model.degree={degree}")
    assert result.train["mse"] == pytest.approx(train, abs=5e-3)
    assert result.test["last"]["mse"] == pytest.approx(test, abs=5e-3)


@pytest.mark.parametrize(("strength", "train", "test"), [(1e-4, 1.234, 7.31), (0.1, 2.057, 5.99), (20, 13.7, 20.1)])
def test_murphys_ridge(strength, train, test, fitted):
    """lambda ||w||^2 beside the sum of 21 squares is alpha = 2 lambda / 21 beside their mean."""
    words = ["data=quadratic", "model.degree=14", "reg=l2", f"reg.l2.alpha={2 * strength / 21}"]
    result = fitted(*words)
    assert result.train["mse"] == pytest.approx(train, rel=5e-3)
    assert result.test["last"]["mse"] == pytest.approx(test, rel=5e-3)


def test_ridge_in_a_run_is_scikit_learns(fitted):
    """The command of the README, against sklearn on the very same points; and the gradient of the objective vanishes."""
    result = fitted("data=quadratic", "model.degree=9", "reg=l2", "reg.l2.alpha=1e-3")
    split = murphy(None, False).train
    x, y = np.vander(split.x[:, 0].numpy(), 10, increasing=True)[:, 1:], split.y[:, 0].numpy()
    wanted = Ridge(alpha=1e-3 * 21 / 2, solver="svd", tol=1e-15).fit(x, y)
    found = coefficients(result)
    assert np.allclose(found[1:], wanted.coef_, rtol=1e-9) and found[0] == pytest.approx(wanted.intercept_, rel=1e-9)
    rest = x @ found[1:] + found[0] - y
    assert abs(2 / 21 * x.T @ rest + 1e-3 * found[1:]).max() < 1e-11 and abs(rest.mean()) < 1e-12


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (20, 20)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_least_norm_is_the_pseudoinverse(shape, outputs):
    x, y = data(*shape, outputs)
    x[:, -1] = x[:, 0]  # of rank one less
    assert np.allclose(solve(LeastSquares, x, y), np.linalg.pinv(x) @ y, atol=1e-10)


def test_shrinkage_per_eigenvalue():
    """In the basis of the singular vectors ridge multiplies least squares by s^2 / (s^2 + lambda)."""
    x, y = data()
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    ratio = (vt @ solve(LeastSquares, x, y, 7.0)) / (vt @ solve(LeastSquares, x, y))
    assert np.allclose(ratio[:, 0], s**2 / (s**2 + 7.0), rtol=1e-10)


def test_no_normal_equations():
    """A condition number of 1e10, whose square float64 does not hold: lstsq's residual is reached all the same."""
    x = np.vander(np.linspace(0, 1, 30), 14)
    y = np.sin(6 * np.linspace(0, 1, 30))[:, None]
    wanted = np.linalg.lstsq(x, y, rcond=None)[0]
    assert np.linalg.cond(x) > 1e9
    assert np.linalg.norm(x @ solve(LeastSquares, x, y) - y) < 1.001 * np.linalg.norm(x @ wanted - y) + 1e-12


def test_one_hot_targets_are_regressed_on(run):
    result = run("model=linear", "loss=mse", "optimizer=least_squares", FULL, "data.train_size=null", "epochs=1")
    assert result.test["last"]["error"] < 0.12
    assert result.train["loss"] > 0


# --- subsets


@pytest.mark.parametrize("k", [1, 2, 3])
def test_best_subset_is_brute_force(k):
    x, y = data()
    best = min(
        itertools.combinations(range(6), k),
        key=lambda s: np.linalg.norm(x[:, s] @ np.linalg.lstsq(x[:, s], y, rcond=None)[0] - y),
    )
    found = solve(BestSubset, x, y, k=k)[:, 0]
    assert tuple(np.flatnonzero(found)) == best
    assert np.allclose(found[list(best)], np.linalg.lstsq(x[:, best], y, rcond=None)[0][:, 0], atol=1e-10)


def test_errors_of_best_subsets_fall_and_lie_below_the_greedy_ones():
    """Each is the least of all subsets of at most so many features, by brute force."""
    x, y = data(20, 7)
    errors = {(): (y**2).sum()} | {
        s: ((x[:, s] @ np.linalg.lstsq(x[:, s], y, rcond=None)[0] - y) ** 2).sum()
        for k in range(1, 8) for s in itertools.combinations(range(7), k)
    }  # fmt: skip
    for k in range(1, 8):
        best, greedy = (((x @ solve(how, x, y, k=k) - y) ** 2).sum() for how in (BestSubset, OrthogonalMatchingPursuit))
        assert best == pytest.approx(min(e for s, e in errors.items() if len(s) <= k), rel=1e-10)
        assert best <= greedy * (1 + 1e-12)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_omp_is_scikit_learns(k):
    x, y = data(60, 20)
    unit = x / np.linalg.norm(x, axis=0)
    found, wanted = (
        solve(OrthogonalMatchingPursuit, unit, y, k=k)[:, 0],
        orthogonal_mp(unit, y[:, 0], n_nonzero_coefs=k),
    )
    assert np.count_nonzero(found) == k and np.allclose(found, wanted, atol=1e-10)


def test_omp_recovers_a_sparse_signal_exactly():
    """Below the coherence 1 / (2 k - 1) that is certain (Tropp 2004)."""
    n, k = 64, 3
    x = np.concatenate([np.eye(n), _hadamard(n)], 1)
    coherence = abs(x.T @ x - np.eye(2 * n)).max()
    assert coherence < 1 / (2 * k - 1)
    truth = np.zeros((2 * n, 1))
    truth[[3, 70, 100]] = [[2.0], [-1.0], [0.5]]
    assert np.allclose(solve(OrthogonalMatchingPursuit, x, x @ truth, k=k), truth, atol=1e-12)


def _hadamard(n):
    h = np.ones((1, 1))
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h / math.sqrt(n)


# --- bases


def make(name, shape, **keys):
    return build("model", compose([f"model={name}"]).model | keys)(shape, 1, lambda layer: layer)


def test_monomials_are_scikit_learns():
    from sklearn.preprocessing import PolynomialFeatures

    model, x = make("polynomial", (3,), degree=3).double(), torch.randn(5, 3, dtype=torch.float64)
    seen = []
    model.layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(x)
    wanted = PolynomialFeatures(3, include_bias=False).fit_transform(x.numpy())
    assert np.allclose(np.sort(seen[0].numpy(), 1), np.sort(wanted, 1), rtol=1e-13)


def test_random_features_approximate_the_gaussian_kernel():
    torch.manual_seed(0)
    model, x = (
        make("random_features", (3,), features=40_000, sigma=2.0).double(),
        torch.randn(6, 3, dtype=torch.float64),
    )
    seen = []
    model.layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(x)
    wanted = torch.exp(-torch.cdist(x, x).square() / (2 * 2.0**2))
    assert (seen[0] @ seen[0].T - wanted).abs().max() < 5 * math.sqrt(1 / 40_000) * 1.5


def test_bumps_are_those_of_the_formula():
    model = make("rbf", (1,), centres=5, low=0.0, high=1.0, width=2.0).double()
    seen = []
    model.layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model(torch.tensor([[0.3]], dtype=torch.float64))
    assert np.allclose(seen[0][0], np.exp(-((0.3 - np.linspace(0, 1, 5)) ** 2) / (2 * 0.5**2)), rtol=1e-7)


# --- refusals


@pytest.mark.parametrize("optimizer", CLOSED_FORM)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=mlp"], "needs a model that is linear in its weights"),
        (["loss=mae"], "minimizes squares"),
        (["reg=l1"], "leave out l1"),
        (["reg=dropout"], "leave out dropout"),
        (["aug=mixup"], "leave out mixup"),
        (["reg=l2", "reg.l2.biases=true"], "leave out l2"),
        (["batch_size=8"], "give batch_size=full"),
        (["sampler=random"], "sampler=random draws with replacement"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_has_no_closed_form_is_refused(optimizer, words, said, run, tmp_path):
    with pytest.raises(UserError) as refused:
        run(*EXACT, FULL, "data=sine", f"optimizer={optimizer}", *words)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("optimizer", ["best_subset", "omp"])
def test_subsets_take_no_ridge(optimizer, run):
    with pytest.raises(UserError, match="takes no regularizer; leave out l2"):
        run(*EXACT, FULL, "data=sine", f"optimizer={optimizer}", "reg=l2")


def test_too_many_subsets_are_refused(run):
    with pytest.raises(UserError, match="at most 100,000"):
        run(*EXACT, FULL, "data=sine", "model.degree=40", "optimizer=best_subset", "optimizer.k=10")


# --- what is measured of a fit


def test_measures_are_numpys(fitted):
    """Norm, non-zeros, condition and coefficients of ridge, and what is missing where the design has not full rank."""
    result = fitted("data=quadratic", "model.degree=5", "reg=l2", "reg.l2.alpha=0.01")
    found, w = result.measures["last"], coefficients(result)
    design = np.vander(murphy(None, False).train.x[:, 0].numpy(), 6, increasing=True)
    assert found["coefficients"] == list(w) and found["nonzeros"] == 5
    assert found["weight_norm"] == pytest.approx(np.linalg.norm(w[1:]), rel=1e-12)
    assert found["condition"] == pytest.approx(np.linalg.cond(design), rel=1e-9)
    assert METRICS["w5"].of(result, "last") == w[5] and METRICS["w6"].of(result, "last") is None
    assert METRICS["w0"].of(result, "best_val") is None
    sparse = fitted("data=quadratic", "model.degree=9", "optimizer=omp", "optimizer.k=2")
    assert sparse.measures["last"]["nonzeros"] == 2
    singular = fitted("data=sine10", "model=rbf", "model.centres=2", "model.width=1e9")
    assert singular.measures["last"]["condition"] is None


def test_measures_survive_reading(fitted):
    result = fitted("data=sine10", "model.degree=2")
    assert read(result.folder).measures == result.measures


@pytest.mark.parametrize("words", [["loss=mse", "model=mlp"], ["loss=cross_entropy", "model=linear"]])
def test_other_runs_are_not_measured(words, run):
    assert run(*words, "epochs=1").measures == {}


# --- the lasso


def lasso_by_coordinates(x, y, a, rounds):
    """The weights and the gradient of the mean square there."""
    features, targets = torch.from_numpy(x), torch.from_numpy(y)[:, 0]
    w = torch.nn.Parameter(torch.zeros(x.shape[1]).double())
    optimizer = CoordinateDescent([w], lr=1.0, line_search="exact", coordinates=None)

    def closure():
        loss = (features @ w - targets).square().mean() + a * w.abs().sum()
        (w.grad,) = torch.autograd.grad(loss, [w], create_graph=True)
        return loss

    for _ in range(rounds):
        optimizer.step(closure)
    found = w.detach().numpy()
    return found, 2 / len(x) * x.T @ (x @ found - y[:, 0])


@pytest.mark.parametrize("a", [0.1, 0.8, 1.5])
def test_coordinate_descent_finds_scikit_learns_lasso(a):
    """alpha ||w||_1 beside the mean of the squares is alpha / 2 beside half of it. Zeros are zeros, and the conditions of
    Karush, Kuhn and Tucker hold: the gradient is -alpha sign(w) where w is not 0, and elsewhere within alpha."""
    x, y = data()
    found, gradient = lasso_by_coordinates(x, y, a, 25)
    wanted = Lasso(alpha=a / 2, fit_intercept=False, tol=1e-14).fit(x, y).coef_
    assert np.allclose(found, wanted, atol=1e-9) and (np.count_nonzero(found) < 6 or a < 0.5)
    assert list(found == 0) == list(wanted == 0)
    assert np.allclose(gradient[found != 0], -a * np.sign(found[found != 0]), atol=1e-9)
    assert (abs(gradient[found == 0]) < a).all()


def test_an_orthogonal_lasso_is_the_soft_threshold():
    """After one round: sign(w*) max(|w*| - alpha / (2 c), 0) with least squares w* and c the columns' mean square."""
    x, y = data()
    x = np.linalg.qr(x)[0] * np.sqrt(40) * np.array([1, 1, 1, 2, 2, 2])
    best, c = np.linalg.lstsq(x, y, rcond=None)[0][:, 0], (x**2).mean(0)
    for a in (0.5, 2.0, 5.0):
        wanted = np.sign(best) * np.maximum(abs(best) - a / (2 * c), 0)
        assert np.allclose(lasso_by_coordinates(x, y, a, 1)[0], wanted, atol=1e-12)


def test_a_run_finds_the_lasso(fitted):
    """Of `coordinate_descent` and `l1` together, against scikit-learn; the zeros are counted."""
    words = (
        "data=quadratic",
        "model.degree=3",
        "optimizer=coordinate_descent",
        "optimizer.coordinates=100",
        "init=zeros",
    )
    found = fitted(*words, "reg=l1", "reg.l1.alpha=0.5").measures["last"]
    split = murphy(None, False).train
    x, y = np.vander(split.x[:, 0].numpy(), 4, increasing=True)[:, 1:], split.y[:, 0].numpy()
    wanted = Lasso(alpha=0.25, tol=1e-14, max_iter=100_000).fit(x, y)
    assert np.allclose(found["coefficients"], [wanted.intercept_, *wanted.coef_], atol=1e-4)
    assert found["nonzeros"] == np.count_nonzero(wanted.coef_) == 2


@pytest.mark.parametrize("option", ["l1", "l1_late"])
def test_a_threshold_needs_a_step_per_unit_of_gradient(option, run):
    words = ["data=sine", "optimizer=coordinate_descent", f"reg={option}", f"reg.{option}.form=proximal"]
    with pytest.raises(UserError, match="takes no such steps: give form=subgradient"):
        run(*EXACT, FULL, *words)


# --- pictures


def test_fitted_curves_are_the_models(fitted):
    """The line of a row is what its model says, here the coefficients' polynomial; classes are refused."""
    results = [read(fitted("data=sine10", f"model.degree={degree}").folder) for degree in (1, 3)]
    drawn = figure(compare(results), "fit")
    for axes, result in zip(drawn.axes, results, strict=True):
        x, y = axes.lines[1].get_data()
        assert np.allclose(y, np.polynomial.Polynomial(result.measures["last"]["coefficients"])(x), atol=1e-9)
        assert len(axes.lines[0].get_xdata()) == 10


def test_pages_and_pictures_of_values_tell_what_is_judged(fitted, tmp_path):
    """Of runs without an error in percent: the page of a run and of a study, a loss surface; a target in percent is refused."""
    results = [read(fitted("data=sine10", f"model.degree={degree}").folder) for degree in (1, 3)]
    table = compare(results)
    title = METRICS[table.metrics[0]].title
    assert title in ("test MSE", "val MSE") and study_page(table, {}).count(f"seed 0: {title} ") == len(results)
    assert "Test squared error" in run_page(results[0])
    for name in ("one.png", "two.csv"):
        runs = [str(result.folder) for result in results[:1]]
        assert surface([*runs, "--points", "3", "-o", str(tmp_path / name)]) == 0
    with pytest.raises(UserError, match="--target 5 is a validation error in percent"):
        targeted(table, 5.0)


def test_a_fit_is_drawn_over_one_feature(run, settings):
    result = run("epochs=1")
    with pytest.raises(UserError, match="one value over one feature"):
        figure(compare([read(Path(settings().outputs) / result.run_id)]), "fit")


def test_a_path_shows_the_coefficients_in_the_order_of_the_axis(fitted):
    """Of ridge at three strengths given in no order; below them the errors."""
    words = ["data=sine10", "model.degree=3", "reg=l2"]
    results = [read(fitted(*words, f"reg.l2.alpha={a}").folder) for a in (0.1, 0.001, 10)]
    above, below = figure(compare(results), "path").axes
    order = [results[1], results[0], results[2]]
    for i, line in enumerate(above.lines[:3]):
        assert list(line.get_xdata()) == [0.001, 0.1, 10] and line.get_label() == f"w{i + 1}"
        assert list(line.get_ydata()) == [r.measures["last"]["coefficients"][i + 1] for r in order]
    assert list(below.containers[0].lines[0].get_ydata()) == [r.test["last"]["mse"] for r in order]


def test_a_path_shows_the_validation_error_by_which_its_strength_is_chosen(fitted):
    """The picture's edges are those of the values; a weight that is zero everywhere has no line."""
    words = ["data=sine", "data.n=40", "data.val_size=20", "model.degree=12", "optimizer=omp"]
    results = [read(fitted(*words, f"optimizer.k={k}").folder) for k in (1, 3, 11)]
    above, below = figure(compare(results), "path").axes
    coefficients = np.array([result.measures["last"]["coefficients"][1:] for result in results])
    assert len(above.lines) - 1 == np.count_nonzero(coefficients.any(0)) < 12  # and the line at zero
    x, y = {drawn.get_label(): drawn[0] for drawn in below.containers}["val MSE"].get_data()
    assert list(x) == [1, 3, 11] and np.allclose(y, [result.val["last"]["mse"] for result in results])
    assert 0 < below.get_xlim()[0] < 1 and 11 < below.get_xlim()[1] < 13


def test_no_path_without_coefficients(run, settings):
    folders = [run("epochs=1", f"optimizer.lr={lr}").run_id for lr in (0.1, 0.2)]
    with pytest.raises(UserError, match="draws the coefficients of models that are linear"):
        figure(compare([read(Path(settings().outputs) / name) for name in folders]), "path")


@pytest.mark.parametrize("optimizer", CLOSED_FORM)
@pytest.mark.parametrize("option", ["bagging", "ensemble"])
def test_what_acts_around_fits_goes_with_closed_forms(option, optimizer, fitted):
    result = fitted("data=sine", "model.degree=2", f"optimizer={optimizer}", f"reg={option}", f"reg.{option}.k=2")
    assert result.test["last"]["mse"] < 1
