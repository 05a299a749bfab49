"""Models that keep their training samples: neighbours by brute force, tangent distances by least squares, what they refuse."""

import numpy as np
import pytest
import torch
from conftest import Silent

from dlreg.config.compose import compose
from dlreg.config.options import options
from dlreg.data.normalize import to_unit
from dlreg.errors import UserError
from dlreg.model.memory import KNN
from dlreg.model.tangent_distance import TangentDistance
from dlreg.model.tangents import tangents
from dlreg.run.experiment import Experiment
from dlreg.run.parts import load, make_data
from dlreg.run.rehearse import rehearse

SHAPE = (1, 9, 9)


def images(n, seed=0):
    """Blobs at random places, float64."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.linspace(-1, 1, 9, dtype=torch.float64)
    a, b, c = (0.4 * torch.randn(n, 1, 1, generator=generator, dtype=torch.float64) for _ in range(3))
    return torch.exp(
        -6 * (side - a).square() - 9 * (side.unsqueeze(1) - b).square() - 5 * c * side * side.unsqueeze(1)
    ).unsqueeze(1)


def by_tangents(sides=2, k=1, candidates=None, directions=None, classes=4, kept=None):
    model = TangentDistance(
        SHAPE, classes, None, k=k, sides=sides, candidates=candidates, directions=directions, sigma=0.8
    )
    kept = images(30) if kept is None else kept
    model.remember(kept, torch.eye(classes, dtype=kept.dtype)[torch.arange(len(kept)) % classes], True)
    return model


def squares(model, x):
    """Squared distances in the order of the kept samples."""
    found, numbers = model.distances(x)
    return torch.zeros(len(x), len(model.x), dtype=x.dtype).scatter(1, numbers, found)


@pytest.mark.parametrize("k", [1, 4, 15])
def test_neighbours_are_scikit_learns(k):
    sklearn = pytest.importorskip("sklearn.neighbors")
    generator = torch.Generator().manual_seed(k)
    x, test = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (200, 90))
    y, values = torch.randint(3, (200,), generator=generator), torch.randn(200, 2, generator=generator)
    model = KNN((5,), 3, None, k=k)
    model.remember(x, torch.eye(3, dtype=x.dtype)[y], True)
    theirs = sklearn.KNeighborsClassifier(k, algorithm="brute").fit(x, y)
    said = model(test)
    assert (said.argmax(1).numpy() == theirs.predict(test)).all()
    assert np.allclose(said.softmax(1), (k * theirs.predict_proba(test) + 1) / (k + 3), atol=1e-12)
    model.remember(x, values.double(), False)
    mean = sklearn.KNeighborsRegressor(k, algorithm="brute").fit(x, values.double()).predict(test)
    assert np.allclose(model(test), mean, atol=1e-12)


@pytest.mark.parametrize("directions", [None, ["right", "rotation"]])
def test_tangent_distances_are_those_of_least_squares(directions):
    """min over the coefficients of both tangent planes by a pseudo-inverse, pair by pair."""
    x, kept = images(6, seed=1), images(30)
    models = {sides: by_tangents(sides, directions=directions) for sides in (1, 2)}
    which = models[1].directions
    planes = [tangents(t, 0.8, "replicate")[which].flatten(2).transpose(0, 1) for t in (x, kept)]
    for i in range(6):
        for j in range(30):
            apart = (x[i] - kept[j]).flatten()
            for sides, basis in ((1, [planes[1][j]]), (2, [planes[0][i], planes[1][j]])):
                basis = torch.cat(basis).T
                rest = apart - basis @ (torch.linalg.pinv(basis, rtol=1e-12) @ apart)
                found = squares(models[sides], x[i : i + 1])[0, j]
                assert torch.isclose(found, rest.square().sum(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_sides_are_at_most_one_and_one_is_at_most_euclids(dtype):
    x, kept = images(20, seed=2).to(dtype), images(30).to(dtype)
    x[3], kept[4] = 0, 0  # an image without a tangent
    x[5] = kept[7]
    euclid = (x.flatten(1).unsqueeze(1) - kept.flatten(1)).square().sum(2)
    one, two = (squares(by_tangents(sides, kept=kept), x) for sides in (1, 2))
    slack = 1e-5 if dtype == torch.float32 else 1e-12
    assert (two <= one + slack).all() and (one <= euclid + slack).all() and (two < 0.9 * one).any()
    assert max(one[5, 7], two[5, 7]) < slack and two.isfinite().all()


def test_a_point_of_its_own_tangent_plane_is_at_distance_zero():
    kept, a = images(30), torch.linspace(-0.4, 0.5, 7, dtype=torch.float64)
    moved = kept + torch.einsum("t,tnchw->nchw", a, tangents(kept, 0.8, "replicate"))
    for sides in (1, 2):
        found = squares(by_tangents(sides), moved).diagonal()
        assert found.max() < 1e-12 < (moved - kept).flatten(1).square().sum(1).min()


def test_few_candidates_find_what_all_find_if_it_is_among_them():
    x = images(25, seed=3)
    near, numbers = by_tangents(candidates=8).distances(x)
    assert near.shape == (25, 8)
    assert torch.allclose(near, squares(by_tangents(), x).gather(1, numbers), rtol=1e-9, atol=1e-14)
    assert torch.equal(
        numbers.sort(1).values, squares(by_tangents(1), x).topk(8, 1, largest=False).indices.sort(1).values
    )


def test_a_constant_added_to_all_images_changes_nothing():
    """As normalization by the mean does: beyond its border an image goes on as it ends there."""
    x, kept = images(5, seed=4), images(30)
    assert torch.allclose(squares(by_tangents(), x), squares(by_tangents(kept=kept - 0.7), x - 0.7), atol=1e-10)


def test_pieces_do_not_matter(monkeypatch):
    x = images(40, seed=5)
    whole = by_tangents(candidates=6)(x)
    monkeypatch.setattr("dlreg.model.memory.PAIRS", 90)
    monkeypatch.setattr("dlreg.model.tangent_distance.ENTRIES", 9000)
    assert torch.allclose(by_tangents(candidates=6)(x), whole)


def test_the_run_is_the_neighbours_of_its_training_set(settings):
    """Normalized, without the validation set; one epoch whatever is asked for, and one remark that says so."""
    chosen = settings("model=knn", "model.k=3", "epochs=7", "data.train_size=500")
    result = Experiment.of(chosen).run(Silent())
    data = make_data(chosen, load(chosen.data))
    test = data.test.open()
    x, z = (data.normalization(to_unit(s.x)).flatten(1).double() for s in (data.train, test))
    votes = torch.eye(10)[data.train.y[torch.cdist(z, x).topk(3, 1, largest=False).indices]].sum(1)
    assert result.test["last"]["error"] == float((votes.argmax(1) != test.y).double().mean())
    assert len(result.history) == 1 and result.parameters == 0
    [remark] = result.remarks
    assert "nothing to train" in remark and "optimizer" in remark and "epochs" in remark


def test_a_committee_of_neighbours_differs_by_its_samples(run):
    result = run("model=knn", "reg=bagging", "reg.bagging.k=3")
    assert result.status == "done" and any("out-of-bag" in remark for remark in result.remarks)


@pytest.mark.parametrize(("group", "word"), [(g, w) for g in ("aug", "reg") for w in options(g) if w != "none"])
def test_every_technique_acts_on_samples_or_is_refused_by_name(group, word, neighbours):
    """Before its `setup` looks for layers that are not there."""
    chosen, data = neighbours
    chosen = chosen.model_copy(update={group: getattr(compose([f"{group}={word}"]), group)})
    if word in ("bagging", "ensemble"):
        rehearse(chosen, data)
    else:
        with pytest.raises(UserError, match=f"^{word} acts while a model is trained"):
            rehearse(chosen, data)


@pytest.fixture(scope="module")
def neighbours():
    chosen = compose(["model=knn", "device=cpu", "data.labelled=100"])
    return chosen, make_data(chosen, load(chosen.data))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reg=dropout"], "dropout acts while a model is trained, and model=knn is not: leave it out"),
        (["aug=mixup"], "mixup acts while a model is trained"),
        (["reg=[bagging,early_stopping]"], "early_stopping acts while"),
        (["attack=fgsm"], "attack=fgsm follows the gradient of the loss, and model=knn has none"),
        (["model.k=129"], "model.k=129 asks for more neighbours than the 128 training samples"),
        (["pretrain=denoising"], "pretrain=denoising trains hidden layers, and this model has none"),
        (["freeze=[layers.1]"], "matches no layer; this model has none"),
    ],
)
def test_what_means_nothing_is_refused(words, said, settings):
    with pytest.raises(UserError) as refused:
        Experiment.of(settings("model=knn", *words)).run(Silent())
    assert said in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_a_run_without_weights_has_a_page_and_no_surface(settings, spoken, tmp_path):
    experiment = Experiment.of(settings("model=knn", "data=two_moons", "data.train_size=null"))
    experiment.run(Silent())
    folder = str(experiment.folder)
    assert spoken("report", folder, "-o", str(tmp_path / "page.html"))[0] == 0
    assert "Decision regions" in (tmp_path / "page.html").read_text()
    status, _, err = spoken("surface", folder)
    assert status == 2 and "no weights that could be others" in err


@pytest.mark.parametrize("model", ["knn", "tangent_distance"])
def test_names_of_hyperparameters_are_checked(model):
    with pytest.raises(UserError, match=r"model\.k=0"):
        compose([f"model={model}", "model.k=0"])
