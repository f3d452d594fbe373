"""Joint embedding metrics against scikit-learn and closed forms, and what no method may see."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from anndata import AnnData
from sklearn.metrics import silhouette_samples, silhouette_score

from dgnbench.cards import read_house
from dgnbench.contract import NotApplicable
from dgnbench.embedding import graph
from dgnbench.embedding.neighbours import Neighbours
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared
from dgnbench.storage import read_parts

METRIC = load_metrics(read_house().metrics["joint_embedding"])
RNG = np.random.default_rng(0)


def solution(n=120, types=3, **columns):
    obs = {
        "scored": np.arange(n) % 2 == 0,
        "cell_type": pd.Categorical([f"type {k}" for k in RNG.integers(types, size=n)]),
        "batch": pd.Categorical([f"b{k}" for k in RNG.integers(2, size=n)]),
    }
    table = pd.DataFrame(obs | columns, index=[f"cell_{i}" for i in range(n)])
    return {"truth": AnnData(RNG.poisson(2.0, (n, 8)).astype(np.float32), obs=table)}


def test_nmi_is_that_of_the_challenge_on_its_starter_set(shared_folder):
    """Louvain depends on the order in which it visits cells: with ten seeds .706 to .724."""
    folder = shared_folder / "goldens" / "neurips2021" / "starter" / "joint_embedding"
    name = "openproblems_bmmc_cite_starter"
    predicted = anndata.read_h5ad(folder / f"{name}.prediction.h5ad")
    truth = anndata.read_h5ad(folder / f"{name}.solution.h5ad")
    truth.obs["cell_type"] = truth.obs["cell_type"].astype("category")
    truth.obs["scored"] = True
    official = pd.read_csv(folder / f"{name}.scores.tsv", sep="\t")["value"].item()
    found = METRIC.nmi({"truth": truth}, predicted[truth.obs_names].X, Shared())
    assert found == pytest.approx(official, abs=0.01)


def test_nmi_of_groups_apart_is_one_and_of_noise_small():
    """Six groups, more than k-means with as many clusters is sure to find."""
    kinds = RNG.integers(6, size=600)
    known = solution(600)
    known["truth"].obs["cell_type"] = pd.Categorical([f"type {k}" for k in kinds])
    apart = 30 * np.eye(6)[kinds] + RNG.normal(size=(600, 6))
    assert METRIC.nmi(known, apart, Shared()) == pytest.approx(1)
    assert METRIC.nmi(known, RNG.normal(size=(600, 6)), Shared()) < 0.15


def test_the_global_random_numbers_of_igraph_are_given_back():
    import random

    random.seed(1)
    wanted = random.random()
    random.seed(1)
    METRIC.nmi(solution(), RNG.normal(size=(120, 5)), Shared())
    assert random.random() == wanted


def test_silhouettes_are_those_of_scikit_learn_on_the_scored_half():
    known, x = solution(), RNG.normal(size=(120, 5))
    obs = known["truth"].obs[known["truth"].obs["scored"]]
    half = x[known["truth"].obs["scored"]]
    wanted = (silhouette_score(half, obs["cell_type"]) + 1) / 2
    assert METRIC.asw_label(known, x, Shared()) == pytest.approx(wanted, abs=1e-5)
    of_types = []
    for kind in obs["cell_type"].unique():
        cells = (obs["cell_type"] == kind).to_numpy()
        of_types.append(1 - np.abs(silhouette_samples(half[cells], obs["batch"][cells])).mean())
    assert METRIC.asw_batch(known, x, Shared()) == pytest.approx(np.mean(of_types), abs=1e-5)


@pytest.mark.parametrize("name", ["nmi", "asw_label", "asw_batch", "arithmetic_mean", "total"])
def test_cells_that_are_not_scored_do_not_count(name):
    known, x = solution(), RNG.normal(size=(120, 5))
    other = x.copy()
    other[~known["truth"].obs["scored"]] = RNG.normal(size=(60, 5))
    assert getattr(METRIC, name)(known, x, Shared()) == getattr(METRIC, name)(
        known, other, Shared()
    )


def test_an_embedding_that_collapsed_is_refused_instead_of_scored():
    """All at one place, batches are mixed perfectly: the silhouette would be the best there is."""
    with pytest.raises(ValueError, match="degenerate"):
        METRIC.asw_batch(solution(), np.zeros((120, 5)), Shared())


def test_the_pseudotime_of_a_line_is_its_order():
    time = np.linspace(0, 1, 200)
    known = solution(200, pseudotime=time)
    line = np.column_stack([time, 0.01 * RNG.normal(size=200)])
    assert METRIC.trajectory(known, line, Shared()) > 0.99
    assert METRIC.trajectory(known, RNG.normal(size=(200, 5)), Shared()) < 0.75


def test_pseudotime_is_that_of_scanpy():
    time = RNG.uniform(size=300)
    curve = np.column_stack([np.sin(3 * time), np.cos(3 * time), time**2])
    x = (curve + 0.05 * RNG.normal(size=curve.shape)).astype(np.float32)
    data, root = AnnData(x), int(time.argmin())
    scanpy.pp.neighbors(data, 15, use_rep="X")
    scanpy.tl.diffmap(data, n_comps=15)
    data.uns["iroot"] = root
    scanpy.tl.dpt(data)
    found = METRIC._diffusion_pseudotime(x, time)
    np.testing.assert_allclose(found / found.max(), data.obs["dpt_pseudotime"], atol=1e-3)


def test_pseudotime_begins_in_the_largest_component_and_other_cells_come_last():
    time = np.linspace(0, 1, 90)
    x = np.column_stack([time, 0.01 * RNG.normal(size=90)])
    x[:20] += 1000
    found = METRIC._diffusion_pseudotime(x, time)
    assert found.argmin() == 20
    assert len(np.unique(found[:20])) == 1
    assert found[0] > found[20:].max()


def test_a_batch_of_one_time_has_no_trajectory():
    place = np.linspace(0, 1, 200)
    batch = pd.Categorical(np.repeat(["first day", "later"], 100))
    known = solution(200, pseudotime=np.where(batch == "later", place, 0.0), batch=batch)
    line = np.column_stack([place, 0.01 * RNG.normal(size=200)])
    assert METRIC.trajectory(known, line, Shared()) > 0.98
    with pytest.raises(NotApplicable, match="different pseudotimes"):
        METRIC.trajectory(solution(200, pseudotime=np.zeros(200)), line, Shared())


def test_the_forest_of_pseudotime_tells_a_line_from_noise():
    known = solution(200, pseudotime=np.linspace(0, 1, 200))
    line = np.column_stack([np.linspace(0, 1, 200), RNG.normal(size=200)])
    assert METRIC.forest_pseudotime(known, line, Shared()) > 0.95
    assert METRIC.forest_pseudotime(known, RNG.normal(size=(200, 3)), Shared()) < 0.2


def test_types_are_connected_by_edges_of_either_direction():
    """A line whose steps grow: each cell's neighbours lie on one side, so that no edge has a way back."""
    place = 2.0 ** np.arange(20)
    indices = np.array([[i, max(i - 1, 0)] for i in range(20)])
    line = Neighbours(indices, np.abs(place[indices] - place[:, None]))
    labels = np.zeros(20, dtype=int)
    assert graph.connectivity(line, labels, "weak") == 1
    assert graph.connectivity(line, labels) == pytest.approx(1 / 20)


def test_the_total_gives_noise_nothing_for_biology():
    """Of few cells each is the neighbour of all, so that each type is connected, whatever the embedding."""
    known = solution(30)
    known["truth"].obs["scored"] = np.arange(30) < 15
    kinds = np.arange(30) % 2
    known["truth"].obs["cell_type"] = pd.Categorical(kinds.astype(str))
    known["truth"].obs["batch"] = pd.Categorical((np.arange(30) % 3).astype(str))
    x, noise = RNG.normal(size=(30, 4)) + 5 * kinds[:, None], np.random.default_rng(0)
    noise = noise.normal(size=(30, 20))
    asw, nmi, by_chance, nmi_by_chance = (
        getattr(METRIC, name)(known, of, Shared())
        for of in (x, noise)
        for name in ("asw_label", "nmi")
    )
    assert METRIC.graph_connectivity(known, x, Shared()) == 1
    batch = np.mean([METRIC.asw_batch(known, x, Shared()), 1])
    bio = [(asw - by_chance) / (1 - by_chance), (nmi - nmi_by_chance) / (1 - nmi_by_chance)]
    wanted = 0.6 * np.mean(bio) + 0.4 * batch
    assert METRIC.total(known, x, Shared()) == pytest.approx(wanted)
    noise_has = 0.4 * np.mean([METRIC.asw_batch(known, noise, Shared()), 1])
    assert METRIC.total(known, noise, Shared()) == pytest.approx(noise_has)


def test_a_metric_is_computed_once_a_run(monkeypatch):
    calls, real = [], METRIC.clusters.louvain
    monkeypatch.setattr(
        METRIC.clusters, "louvain", lambda *given: calls.append(given) or real(*given)
    )
    known, x, shared = solution(), RNG.normal(size=(120, 5)), Shared()
    for name in ("arithmetic_mean", "nmi"):
        getattr(METRIC, name)(known, x, shared)
    assert len(calls) == 1


def test_the_variance_that_covariates_explain_is_one_minus_that_of_residuals():
    covariates = RNG.normal(size=(500, 2))
    x = np.column_stack([covariates @ [1.0, 2.0], RNG.normal(size=500)])
    share = x[:, 0].var() / x.var(axis=0).sum()
    assert METRIC._explained(x, covariates) == pytest.approx(share, abs=0.01)
    assert METRIC._explained(x[:, :1], covariates) == pytest.approx(1)


def test_metrics_without_meaning_are_left_out_of_the_mean():
    known, x = solution(), RNG.normal(size=(120, 5))
    for name in ("cell_cycle", "trajectory"):
        with pytest.raises(NotApplicable):
            getattr(METRIC, name)(known, x, Shared())
    names = ("nmi", "asw_label", "asw_batch", "graph_connectivity")
    wanted = np.mean([getattr(METRIC, name)(known, x, Shared()) for name in names])
    assert METRIC.arithmetic_mean(known, x, Shared()) == pytest.approx(wanted)


@pytest.mark.parametrize("column", ["cell_type", "batch"])
def test_one_type_or_one_batch_makes_its_metrics_not_applicable(column):
    known = solution(**{column: pd.Categorical(["all"] * 120)})
    with pytest.raises(NotApplicable):
        METRIC.asw_batch(known, RNG.normal(size=(120, 5)), Shared())


def test_labels_are_given_for_no_scored_cell_and_for_all_others(groups):
    group = groups("joint_embedding")
    labels = read_parts(group / "problem")["labels"].obs["cell_type"]
    truth = read_parts(group / "solution")["truth"].obs
    scored = truth["scored"].to_numpy()
    assert abs(scored.mean() - 0.5) < 0.01
    assert labels[scored].isna().all()
    assert (labels[~scored].astype(str) == truth["cell_type"][~scored].astype(str)).all()
