"""Linear views of a modality, and canonical correlation between two: what the baselines share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from dgnbench.contract import Declined
from dgnbench.transforms import FloatArray, clr_per_cell, log1p_cp10k, principal_components

MOST_CELLS = 20_000  # of a side, of which all pairs are weighed: that takes 3.2 GB


def components(part: Any, n: int, seed: int) -> Callable[[Any], FloatArray]:
    """Fit the leading components of a modality.

    Principal components of log counts per ten thousand (RNA) or of centred log-ratios (protein);
    latent semantic indexing of binarised peaks (ATAC; Cusanovich et al. 2015, 10.1126/science.aab1601,
    with the scale of Signac), whose first component, the depth, is left out.

    Parameters
    ----------
    part
        Raw counts in X; ``uns["modality"]`` says which of the three.
    n
        How many components, at most one less than the smaller side.

    Returns
    -------
    A function from a part with the same features to its scores (cells, components), float64; over the
    cells of the fit the leading component has unit standard deviation.

    Raises
    ------
    Declined
        With fewer than three cells or features, or no count at all.
    """
    name = part.uns["modality"]
    if min(part.shape) < 3 or part.X.sum() == 0:
        raise Declined(f"{name} has too few cells, features or counts for components: {part.shape}")
    if name == "atac":
        seen = np.asarray((part.X > 0).sum(axis=0)).ravel()
        weight = np.log1p(part.n_obs / np.maximum(seen, 1))

        def matrix(of: Any) -> Any:
            peaks = sparse.csr_matrix(of.X > 0, dtype=np.float64)
            depth = np.maximum(np.asarray(peaks.sum(axis=1)), 1)
            made = sparse.csr_matrix(peaks.multiply(1e4 / depth).multiply(weight))
            return made.log1p()

        from sklearn.decomposition import TruncatedSVD

        n_kept = min(n, min(part.shape) - 2)
        model = TruncatedSVD(n_kept + 1, algorithm="arpack", random_state=seed).fit(matrix(part))

        def scores(of: Any) -> FloatArray:
            return np.asarray(model.transform(matrix(of))[:, 1:])
    else:
        normalise = clr_per_cell if name == "protein" else log1p_cp10k
        pca = principal_components(normalise(part.X), n, seed)

        def scores(of: Any) -> FloatArray:
            return np.asarray(pca.transform(normalise(of.X)))

    scale = max(float(scores(part).std(axis=0).max()), 1e-12)
    return lambda of: scores(of) / scale


def canonical(x: Any, y: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Canonical correlations of paired cells, with the covariance shrunk as Ledoit & Wolf do.

    Parameters
    ----------
    x, y
        (cells, p) and (cells, q), centred by the caller; 10.1016/S0047-259X(03)00096-4 has the
        shrinkage, without which as many dimensions as cells would correlate perfectly.

    Returns
    -------
    Correlations (k,), descending, and the projections (p, k) and (q, k) to variates of unit variance,
    k the smaller of p and q.
    """
    from sklearn.covariance import ledoit_wolf

    p = x.shape[1]
    covariance, _ = ledoit_wolf(np.hstack([x, y]), assume_centered=True)

    def whitening(block: Any) -> Any:
        values, vectors = np.linalg.eigh(block)
        smallest = max(1e-9 * values[-1], np.finfo(float).tiny)  # of a constant embedding all are 0
        return vectors / np.sqrt(np.maximum(values, smallest)) @ vectors.T

    of_x, of_y = whitening(covariance[:p, :p]), whitening(covariance[p:, p:])
    left, correlations, right = np.linalg.svd(of_x @ covariance[:p, p:] @ of_y, full_matrices=False)
    return np.clip(correlations, 0, 0.999), of_x @ left, of_y @ right.T


def centred(x: Any, batch: Any = None) -> FloatArray:
    """Scores (cells, dimensions) minus their mean, within every batch (cells,) where it is given."""
    x = np.asarray(x, dtype=np.float64)
    groups = (
        np.zeros(len(x), dtype=int) if batch is None else np.unique(batch, return_inverse=True)[1]
    )
    sizes = np.bincount(groups)
    sums = np.zeros((len(sizes), x.shape[1]))
    np.add.at(sums, groups, x)
    return np.asarray(x - (sums / sizes[:, None])[groups])


def log_odds_of_pairs(u: Any, v: Any, correlations: Any) -> FloatArray:
    """How much likelier cells are as a pair than apart, (cells of u, cells of v), natural log.

    Of variates u, v with unit variance and these correlations, all Gaussian:
    sum over dimensions of log p(u, v) / (p(u) p(v)). O(cells x cells) memory.
    """
    r = np.asarray(correlations)
    gain = 1 / (1 - r**2)
    found = np.asarray((u * (r * gain)) @ v.T)
    alone = [(x**2) @ (r**2 * gain) / 2 for x in (u, v)]
    found -= alone[0][:, None]  # in place: it may have gigabytes
    found -= alone[1] - np.log(gain).sum() / 2
    return found


def canonical_log_odds(
    embed: Callable[[int, Any], Any], train: tuple[Any, Any], test: tuple[Any, Any]
) -> FloatArray:
    """How much likelier test cells are as a pair than apart, by an embedding of either modality.

    `log_odds_of_pairs` on the canonical variates of the training pairs' embeddings. Embeddings are centred
    within a batch: both test sides hold the same cells, so that their means must agree.

    Parameters
    ----------
    embed
        From 0 (source) or 1 (target) and a part to an array (cells, dimensions) of that side.
    train, test
        The two modalities' parts: training pairs in one order, test cells in any.

    Returns
    -------
    (test source cells, test target cells), natural log.

    Raises
    ------
    Declined
        With more than 20,000 test cells.
    """
    most = max(part.n_obs for part in test)
    if most > MOST_CELLS:
        raise Declined(f"{most} test cells; all pairs of {MOST_CELLS} fit in memory")
    known, found = (
        [centred(embed(side, part), part.obs.get("batch")) for side, part in enumerate(parts)]
        for parts in (train, test)
    )
    correlations, *maps = canonical(*known)
    u, v = (x @ to_variates for x, to_variates in zip(found, maps, strict=True))
    return log_odds_of_pairs(u, v, correlations)
