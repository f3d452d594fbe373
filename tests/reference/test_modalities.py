"""Linear baselines of two modalities against closed forms and other implementations."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from scipy.stats import multivariate_normal

from dgnbench import modalities
from dgnbench.contract import Declined
from dgnbench.matching import largest, sinkhorn
from dgnbench.modalities import (
    canonical,
    canonical_log_odds,
    centred,
    components,
    log_odds_of_pairs,
)

RNG = np.random.default_rng(0)


def part(counts, modality):
    made = AnnData(sparse.csr_matrix(np.asarray(counts, dtype=np.float32)))
    made.uns["modality"] = modality
    return made


def test_canonical_correlations_are_those_of_the_model_that_made_the_data():
    n, wanted = 40_000, np.array([0.9, 0.5, 0.0])
    x = RNG.normal(size=(n, 3))
    y = wanted * x + np.sqrt(1 - wanted**2) * RNG.normal(size=(n, 3))
    turned = y @ np.array([[2.0, 1, 0], [0, 1, 0.5], [1, 0, 1]])
    correlations, a, b = canonical(centred(x), centred(turned))
    assert correlations == pytest.approx(wanted, abs=0.02)
    assert np.corrcoef(x @ a[:, 0], turned @ b[:, 0])[0, 1] == pytest.approx(0.9, abs=0.01)


def test_shrinkage_keeps_noise_from_correlating_perfectly():
    x, y = RNG.normal(size=(60, 40)), RNG.normal(size=(60, 40))
    correlations, _, _ = canonical(centred(x), centred(y))
    assert correlations[0] < 0.3


def test_log_odds_of_pairs_are_those_of_gaussian_densities():
    r = np.array([0.8, 0.3])
    u, v = RNG.normal(size=(4, 2)), RNG.normal(size=(5, 2))
    found = log_odds_of_pairs(u, v, r)
    for i, j in np.ndindex(4, 5):
        wanted = sum(
            multivariate_normal([0, 0], [[1, r[k]], [r[k], 1]]).logpdf([u[i, k], v[j, k]])
            - multivariate_normal([0], [[1]]).logpdf(u[i, k])
            - multivariate_normal([0], [[1]]).logpdf(v[j, k])
            for k in range(2)
        )
        assert found[i, j] == pytest.approx(wanted)


def paired_parts(n, batch=("a", "b")):
    """Training pairs and as many test cells of two correlated embeddings, which batches shift."""
    x = RNG.normal(size=(2 * n, 3))
    y = x @ RNG.normal(size=(3, 4)) + RNG.normal(size=(2 * n, 4))
    obs = pd.DataFrame({"batch": np.resize(batch, 2 * n)}, index=[str(i) for i in range(2 * n)])
    sides = [AnnData(values, obs=obs) for values in (x, y)]
    return [[side[rows] for side in sides] for rows in (slice(n), slice(n, None))]


def test_log_odds_of_embedded_pairs_see_no_linear_map_of_an_embedding_and_no_batch():
    train, test = paired_parts(200)
    plain = canonical_log_odds(lambda side, part: part.X, train, test)
    to = [3 * np.linalg.qr(RNG.normal(size=(k, k)))[0] for k in (3, 4)]
    apart = {"a": 0.0, "b": 5.0}

    def turned(side, part):
        return part.X @ to[side] + part.obs["batch"].map(apart).to_numpy(float)[:, None]

    found = canonical_log_odds(turned, train, test)
    assert found == pytest.approx(plain, abs=0.3)  # shrinkage sees the scale
    assert np.corrcoef(found.ravel(), plain.ravel())[0, 1] > 0.999
    own, others = np.diag(plain).mean(), plain.mean()
    assert own > 1 > others


def test_log_odds_of_embeddings_that_say_nothing_are_even():
    train, test = paired_parts(50)
    found = canonical_log_odds(lambda side, part: np.ones((part.n_obs, 2)), train, test)
    assert found == pytest.approx(np.zeros((50, 50)))


def test_more_cells_than_all_pairs_of_fit_are_declined(monkeypatch):
    monkeypatch.setattr(modalities, "MOST_CELLS", 49)
    with pytest.raises(Declined, match="50 test cells"):
        canonical_log_odds(lambda side, part: part.X, *paired_parts(50))


def test_a_plan_of_optimal_transport_has_even_marginals_and_the_scaled_kernel():
    kernel = RNG.normal(size=(12, 12))
    plan = np.exp(sinkhorn(kernel, rounds=500, tolerance=1e-10))
    assert plan.sum(axis=1) == pytest.approx(np.full(12, 1 / 12))
    assert plan.sum(axis=0) == pytest.approx(np.full(12, 1 / 12))
    # Scaling of rows and columns leaves every 2 x 2 odds ratio alone.
    odds = np.log(plan[:-1, :-1] * plan[1:, 1:] / (plan[:-1, 1:] * plan[1:, :-1]))
    of_kernel = kernel[:-1, :-1] + kernel[1:, 1:] - kernel[:-1, 1:] - kernel[1:, :-1]
    assert odds == pytest.approx(of_kernel)


def test_the_largest_weights_are_a_softmax_over_what_is_kept():
    log_weights = RNG.normal(size=(3, 8)) + 1000
    found = largest(log_weights, 4).toarray()
    for row, weights in zip(found, log_weights, strict=True):
        kept = np.argsort(-weights)[:4]
        wanted = np.zeros(8)
        wanted[kept] = np.exp(weights[kept] - 1000) / np.exp(weights[kept] - 1000).sum()
        assert row == pytest.approx(wanted)


def test_centring_within_batches_takes_away_every_batch_mean():
    x, batch = RNG.normal(size=(10, 2)), np.array(["a"] * 4 + ["b"] * 6)
    x[4:] += 5
    found = centred(x, batch)
    assert found[:4].mean(axis=0) == pytest.approx([0, 0])
    assert found[4:].mean(axis=0) == pytest.approx([0, 0])


@pytest.mark.parametrize("modality", ["rna", "protein", "atac"])
def test_components_live_with_fifteen_features_and_cells_and_features_without_a_count(modality):
    counts = RNG.poisson(1.0, (40, 15))
    counts[3] = 0
    counts[:, 7] = 0
    scores = components(part(counts, modality), 50, 0)(part(counts, modality))
    assert scores.shape[0] == 40
    assert 1 <= scores.shape[1] <= 14
    assert np.isfinite(scores).all()
    assert scores.std(axis=0).max() == pytest.approx(1)


@pytest.mark.parametrize("counts", [np.zeros((20, 15)), np.ones((20, 2))])
def test_components_decline_what_has_none(counts):
    with pytest.raises(Declined, match="too few"):
        components(part(counts, "rna"), 50, 0)
