"""k-means and Louvain, and how their clusters agree with labels."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from dgnbench.embedding import threefry
from dgnbench.embedding.neighbours import Neighbours

ROUNDS = (
    300  # at least, unless no cell changes before: scib-metrics' KMeans asks for both of its limits
)
TOLERANCE = (
    1e-4  # of the mean variance of a dimension: the change of inertia after which it may stop
)


def kmeans(x: Any, n_clusters: int, seed: int = 0) -> Any:
    """Clusters of the cells of `x` (cells, dimensions), (cells,).

    As `scib_metrics.utils.KMeans`: greedy k-means++ from the same random numbers, then Lloyd's rounds until
    no cell changes, or after `ROUNDS` the inertia hardly does. O(cells x clusters x dimensions) a round.
    """
    x = np.ascontiguousarray(x, dtype=np.float32)
    x = x - x.mean(axis=0)
    centres = _begin(x, n_clusters, threefry.split(threefry.key(seed), 1)[0])
    tolerance = TOLERANCE * np.mean(np.var(x, axis=0))
    labels, inertia, done = np.full(len(x), -1), np.inf, 0
    while True:
        squared = _squared(x, centres)
        found, before, inertia = squared.argmin(axis=1), inertia, squared.min(axis=1).sum()
        if (found == labels).all() or (done >= ROUNDS and abs(before - inertia) <= tolerance):
            return found
        labels, done = found, done + 1
        sums = np.stack([np.bincount(labels, column, n_clusters) for column in x.T], axis=1)
        sizes = np.bincount(labels, minlength=n_clusters).clip(min=1)
        centres = (sums / sizes[:, None]).astype(np.float32)


def _begin(x: Any, n_clusters: int, key: Any) -> Any:
    """k-means++: each new centre is the best of some cells drawn by their squared distance."""
    key, now = threefry.split(key)
    centres = [x[threefry.permutation(now, len(x))[0]]]
    nearest = _squared(x, centres[0][None]).ravel()
    for _ in range(n_clusters - 1):
        key, now = threefry.split(key)
        drawn = threefry.choice(now, 2 + int(np.log(n_clusters)), nearest / nearest.sum())
        candidates = np.minimum(nearest[:, None], _squared(x, x[drawn]))
        best = candidates.sum(axis=0).argmin()
        nearest = candidates[:, best]
        centres.append(x[drawn[best]])
    return np.array(centres)


def _squared(x: Any, centres: Any) -> Any:
    """Squared distances (cells, centres), by differences: a product would lose digits."""
    return np.stack([np.square(x - centre).sum(axis=1) for centre in centres], axis=1)


def louvain(neighbours: Neighbours, resolutions: Any, seed: int = 0) -> Iterator[Any]:
    """Clusters (cells,) of the graph of nearest cells for each resolution.

    The multilevel optimisation of modularity (Blondel et al. 2008, 10.1088/1742-5468/2008/10/P10008) by
    igraph. Edges have no direction and count alike, as where scIB calls scanpy's. O(edges) a level.
    """
    import igraph

    n, k = neighbours.indices.shape
    edges = np.column_stack([np.repeat(np.arange(n), k), neighbours.indices.ravel()])
    graph = igraph.Graph(n, edges).simplify()
    for resolution in resolutions:
        igraph.set_random_number_generator(random.Random(seed))
        try:
            found = graph.community_multilevel(resolution=resolution)
        finally:
            igraph.set_random_number_generator(random)
        yield np.array(found.membership)


def agreement(labels: Any, clusters: Any) -> dict[str, float]:
    """Normalised mutual information and adjusted Rand index of two labellings (cells,)."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return {
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }
