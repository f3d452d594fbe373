"""Weights of weighted nearest neighbours against the definition of Hao et al. 2021, and against muon."""

import importlib.util

import numpy as np
import pytest
from anndata import AnnData
from mudata import MuData
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from dgnbench.cards import read_house

FILE = read_house().methods["wnn"].folder / "method.py"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def wnn():
    spec = importlib.util.spec_from_file_location("method_wnn", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clusters(n=120, n_clusters=4, spread=0.15):
    """Cells of clusters on the unit sphere in ten dimensions."""
    x = 2 * np.eye(10)[np.arange(n) % n_clusters] + spread * RNG.normal(size=(n, 10))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def noise(n=120):
    x = RNG.normal(size=(n, 10))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def by_definition(x, y, k):
    """The weight of x, a cell at a time and all pairs at once."""
    n, scores = len(x), []
    distances = [cdist(side, side) for side in (x, y)]
    near = [np.argsort(d, axis=1)[:, 1 : k + 1] for d in distances]
    for a, side in enumerate((x, y)):
        sets = [{i, *near[a][i]} for i in range(n)]
        own = np.empty(n)
        for i in range(n):
            jaccard = [
                len(sets[i] & s) / len(sets[i] | s) if j != i else 0 for j, s in enumerate(sets)
            ]
            order = sorted(
                (similar, -distances[a][i, j]) for j, similar in enumerate(jaccard) if similar
            )
            sigma = -np.mean([far for _, far in order[:k]])
            first = distances[a][i, near[a][i, 0]]
            theta = [
                np.exp(
                    -max(np.linalg.norm(side[i] - side[of[i]].mean(0)) - first, 0) / (sigma - first)
                )
                for of in (near[a], near[1 - a])
            ]
            own[i] = min(theta[0] / (theta[1] + 1e-4), 200)
        scores.append(own)
    return np.exp(scores[0]) / (np.exp(scores[0]) + np.exp(scores[1]))


def test_weights_are_those_of_the_definition_written_out(wnn):
    x, y = clusters(spread=0.4), clusters(spread=0.8)[RNG.permutation(120)]
    found = wnn.weights(x, y, 5)
    assert found[:, 0] == pytest.approx(by_definition(x, y, 5), rel=1e-9)
    assert found.sum(axis=1) == pytest.approx(np.ones(120))


def by_muon(monkeypatch, x, y, k):
    """The weight of x, from exact searches: its own are approximate, and its Jaccard index is right for
    graphs only whose indices are sorted, which scanpy's are not.
    """
    import scanpy as sc
    from muon._core import preproc

    def exact(cells, *, n_neighbors, metric, metric_kwds, **_):
        if isinstance(metric, str):
            far = cdist(cells, cells, metric)
        else:
            far = np.array([[metric(a, b, *metric_kwds.values()) for b in cells] for a in cells])
        order = np.argsort(far, axis=1, kind="stable")[:, :n_neighbors]
        return order, np.take_along_axis(far, order, axis=1), None

    monkeypatch.setattr(preproc, "nearest_neighbors", exact)
    monkeypatch.setattr(
        preproc, "_compute_connectivities_umap", lambda n_obs, **_: csr_array((n_obs, n_obs))
    )
    parts = {"x": AnnData(x), "y": AnnData(y)}
    for part in parts.values():
        sc.pp.neighbors(part, n_neighbors=k + 1, use_rep="X", transformer="sklearn", method="gauss")
        part.obsp["distances"].sort_indices()
    both = MuData(parts)
    preproc.neighbors(both, n_neighbors=k, n_bandwidth_neighbors=k, n_multineighbors=50)
    return both.obs["x:mod_weight"].to_numpy()


def test_weights_are_those_of_muon_where_neither_counts_a_cell_among_its_surroundings(
    wnn, monkeypatch
):
    x, y = clusters(60, spread=0.4), clusters(60, spread=0.8)[RNG.permutation(60)]
    monkeypatch.setattr(wnn, "surroundings", lambda neighbours: neighbours)
    found = wnn.weights(x, y, 10)[:, 0]
    assert found.std() > 0.1
    assert found == pytest.approx(by_muon(monkeypatch, x, y, 10), abs=1e-9)


def test_a_modality_of_pure_noise_weighs_next_to_nothing(wnn):
    x, y = clusters(), noise()
    assert wnn.weights(x, y, 10)[:, 1].mean() < 0.01
    assert wnn.weights(y, x, 10)[:, 0].mean() < 0.01


def test_two_modalities_that_say_the_same_weigh_the_same(wnn):
    x = clusters()
    assert wnn.weights(x, x @ np.linalg.qr(RNG.normal(size=(10, 10)))[0], 10) == pytest.approx(0.5)


def test_a_modality_in_which_only_some_cells_are_told_apart_weighs_more_in_those(wnn):
    x, y = noise(), noise()
    x[:60], y[60:] = clusters(60), clusters(60)
    found = wnn.weights(x, y, 10)[:, 0]
    assert np.median(found[:60]) > 0.65
    assert np.median(found[60:]) < 0.35


def test_cells_at_one_place_have_finite_weights(wnn):
    x = clusters()
    x[:30] = x[0]
    assert np.isfinite(wnn.weights(x, noise(), 10)).all()


def test_the_inner_product_of_embedded_cells_is_the_weighted_mean_of_their_cosines(
    wnn, monkeypatch
):
    x, y = clusters(), noise()
    sides = {"x": x * 3, "y": y * RNG.uniform(1, 2, (120, 1))}  # lengths say nothing
    monkeypatch.setattr(wnn, "components", lambda part, n, seed: sides.get)
    found = wnn.joint_embedding("x", "y", seed=0, n_components=10, n_neighbors=10)
    w = np.sqrt(wnn.weights(x, y, 10))
    wanted = np.outer(w[:, 0], w[:, 0]) * (x @ x.T) + np.outer(w[:, 1], w[:, 1]) * (y @ y.T)
    assert found @ found.T == pytest.approx(wanted)
