"""Matching metrics against the challenge's own number, dense definitions and closed forms."""

import importlib.util

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from dgnbench.cards import read_house
from dgnbench.contract import NotApplicable
from dgnbench.matching import match
from dgnbench.scoring import load_metrics
from dgnbench.shared import Shared

METRIC = load_metrics(read_house().metrics["modality_matching"])
RNG = np.random.default_rng(0)


def solution(partners, types=None):
    """`types`: of the source cells; those of the target cells follow from the partners."""
    truth = pd.DataFrame({"match": partners}, index=[f"source_{i}" for i in range(len(partners))])
    other = pd.DataFrame(index=[f"target_{i}" for i in range(len(partners))])
    if types is not None:
        truth["cell_type"] = pd.Categorical(types)
        other["cell_type"] = pd.Categorical(np.asarray(types)[np.argsort(partners)])
    return {"truth": AnnData(obs=truth), "partner_truth": AnnData(obs=other)}


def score(name, weights, known):
    return getattr(METRIC, name)(known, sparse.csr_matrix(weights), Shared())


def normalised(weights):
    return weights / weights.sum(axis=1, keepdims=True)


def test_the_match_probability_of_the_challenge_is_met_on_its_starter_set(shared_folder):
    folder = shared_folder / "goldens" / "neurips2021" / "starter" / "match_modality"
    name = "openproblems_bmmc_cite_starter"
    predicted = anndata.read_h5ad(folder / f"{name}.prediction.h5ad").X
    truth = sparse.csr_matrix(anndata.read_h5ad(folder / f"{name}.test_sol.h5ad").X)
    official = pd.read_csv(folder / f"{name}.scores.tsv", sep="\t")["value"].item()
    known = solution(np.asarray(truth.argmax(axis=1)).ravel())
    found = METRIC.match_probability(known, predicted, Shared())
    assert found == pytest.approx(official, abs=1e-8)
    assert found == pytest.approx(0.0325490196, abs=1e-8)


@pytest.mark.parametrize("n", [2, 7, 289])
def test_even_weights_score_exactly_what_chance_does(n):
    known, weights = solution(RNG.permutation(n)), np.full((n, n), 1 / n)
    assert score("match_probability", weights, known) == pytest.approx(1 / n)
    assert score("top_1", weights, known) == pytest.approx(1 / n)
    assert score("top_5", weights, known) == pytest.approx(min(1, 5 / n))
    assert score("foscttm", weights, known) == pytest.approx(0.5)


def test_the_true_partners_score_best():
    partners = RNG.permutation(40)
    weights = np.eye(40)[partners]
    known = solution(partners, RNG.choice(["a", "b", "c"], 40))
    assert score("foscttm", weights, known) == 0
    for name in ("match_probability", "top_1", "top_5", "label_transfer"):
        assert score(name, weights, known) == pytest.approx(1)


def test_foscttm_without_ties_is_the_fraction_of_pairs_that_are_nearer():
    """scglue's definition on distances with the partners on the diagonal, over the n - 1 others."""
    n = 30
    weights, partners = normalised(RNG.random((n, n))), RNG.permutation(n)
    distance = -weights[:, partners]
    own = np.diag(distance)
    of_source, of_target = (distance < own[:, None]).sum(axis=1), (distance < own).sum(axis=0)
    wanted = np.mean([of_source, of_target]) / (n - 1)
    assert score("foscttm", weights, solution(partners)) == pytest.approx(wanted)


def test_ranks_of_sparse_weights_are_those_of_the_dense_matrix():
    n = 25
    dense = np.round(RNG.random((n, n)), 1) * (RNG.random((n, n)) < 0.3)  # many ties
    dense[dense.sum(axis=1) == 0, 0] = 1
    dense, partners = normalised(dense), RNG.permutation(n)
    own = dense[np.arange(n), partners][:, None]
    more, same = METRIC._ranks(sparse.csr_matrix(dense), partners)
    assert (more == (dense > own).sum(axis=1)).all()
    assert (same == (dense == own).sum(axis=1) - 1).all()


def test_top_5_counts_ties_by_their_chance():
    """Two cells weigh more and eight, with the partner, the same: three of eight places are left."""
    weights = np.zeros((12, 12))
    weights[:, :2], weights[:, 2:10] = 0.2, 0.075
    known = solution(np.arange(12))
    first, tied, last = (
        1.0,
        3 / 8,
        0.0,
    )  # two cells of the first kind, eight tied, two without weight
    assert score("top_5", weights, known) == pytest.approx((2 * first + 8 * tied + 2 * last) / 12)
    assert score("top_1", weights, known) == pytest.approx(2 * 0.5 / 12)


def test_labels_go_over_by_the_type_with_the_most_weight():
    """Cell 0 gives its partner the largest weight but the other type more weight in all."""
    weights = np.array([[0.4, 0.3, 0.3], [0, 1, 0], [0, 0, 1.0]])
    known = solution([0, 1, 2], ["a", "b", "b"])
    assert score("top_1", weights, known) == 1
    assert score("label_transfer", weights, known) == pytest.approx(2 / 3)


def test_label_transfer_has_no_meaning_without_two_types():
    for types in (None, ["a", "a", "a"]):
        with pytest.raises(NotApplicable):
            score("label_transfer", np.eye(3), solution([0, 1, 2], types))


def test_match_weighs_the_nearest_cells_and_rows_sum_to_one():
    source, target = RNG.normal(size=(30, 4)), RNG.normal(size=(1100, 4))
    weights = match(source, target)
    assert weights.shape == (30, 1100)
    assert np.diff(weights.indptr).tolist() == [1000] * 30
    assert np.asarray(weights.sum(axis=1)).ravel() == pytest.approx(np.ones(30))
    distances = np.linalg.norm(source[:, None] - target, axis=2)
    assert (weights.toarray().argmax(axis=1) == distances.argmin(axis=1)).all()
    order = np.argsort(distances[0])
    assert (np.diff(weights[0].toarray().ravel()[order]) <= 0).all()


def test_match_of_cells_at_one_place_is_even():
    weights = match(np.zeros((3, 2)), np.zeros((4, 2)))
    assert weights.toarray() == pytest.approx(np.full((3, 4), 1 / 4))


def test_cells_of_a_cluster_get_equal_weights_and_all_do_where_it_has_none():
    spec = importlib.util.spec_from_file_location(
        "cluster_matching", read_house().methods["cluster_matching"].folder / "method.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source, target = np.array([0, 1, 2]), np.array([1, 0, 1, 1])
    found = module.evenly_within(source, target, RNG).toarray()
    third = 1 / 3
    wanted = np.array([[0, 1, 0, 0], [third, 0, third, third], [0.25] * 4])
    assert found == pytest.approx(wanted)
    many = module.evenly_within(np.zeros(2, int), np.zeros(1500, int), RNG)
    assert np.diff(many.indptr).tolist() == [1000, 1000]
    assert many.sum(axis=1) == pytest.approx(np.ones((2, 1)))
