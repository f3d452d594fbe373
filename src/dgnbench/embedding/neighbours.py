"""The nearest cells of every cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

EXACT_UP_TO = (
    65_000  # cells; of more an approximate search is faster (from 20,000 by extrapolation)
)
CHECKED = 1000  # cells whose neighbours are searched exactly to measure the recall
LEAST_RECALL = 0.95


@dataclass(frozen=True)
class Neighbours:
    """The nearest cells of every cell, itself first at distance 0.

    `indices` and `distances` (cells, k); distances are Euclidean and ascending. `recall` is the share of
    the true neighbours that were found, 1 of an exact search.
    """

    indices: Any
    distances: Any
    recall: float = 1.0

    def first(self, k: int) -> Neighbours:
        """The nearest `k`, or all where there are fewer."""
        return Neighbours(self.indices[:, :k], self.distances[:, :k], self.recall)


def nearest(x: Any, k: int, exact_up_to: int = EXACT_UP_TO) -> Neighbours:
    """The `k` nearest cells of every cell of `x` (cells, dimensions), itself included.

    Exact, in blocks, in n² time; of more than `exact_up_to` cells by pynndescent, in n log n time.

    Raises
    ------
    ValueError
        If the approximate search found less than 95 % of the neighbours of a thousand cells.
    """
    x = np.ascontiguousarray(x, dtype=np.float64)
    k = min(k, len(x))
    if len(x) <= exact_up_to:
        distances, indices = _exactly(x, x, k)
        _own_first(indices, distances, np.arange(len(x)))
        return Neighbours(indices, distances)
    indices, distances = _roughly(x, k)
    _own_first(indices, distances, np.arange(len(x)))
    rows = np.random.default_rng(0).choice(len(x), CHECKED, replace=False)
    _, true = _exactly(x, x[rows], k)
    recall = (
        np.mean([len(np.intersect1d(indices[r], t)) for r, t in zip(rows, true, strict=True)]) / k
    )
    if recall < LEAST_RECALL:
        raise ValueError(
            f"neighbours: the approximate search found {recall:.1%} of the {k} nearest of {CHECKED} "
            f"cells, wanted {LEAST_RECALL:.0%}; are many cells at the same place?"
        )
    return Neighbours(indices, distances, float(recall))


def nearest_of(x: Any, rows: Any, k: int) -> Neighbours:
    """The `k` nearest cells of the cells `rows` (n,) alone among all of `x`; exact, (n, k)."""
    x = np.ascontiguousarray(x, dtype=np.float64)
    distances, indices = _exactly(x, x[rows], min(k, len(x)))
    _own_first(indices, distances, rows)
    return Neighbours(indices, distances)


def _exactly(x: Any, of: Any, k: int) -> tuple[Any, Any]:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(of)
    return found[0], found[1]


def _roughly(x: Any, k: int) -> tuple[Any, Any]:
    from pynndescent import NNDescent

    # trees, rounds and candidates as in umap and scib-metrics
    search = NNDescent(
        x.astype(np.float32), n_neighbors=k, random_state=0, low_memory=True, compressed=False,
        n_trees=min(64, 5 + round(len(x) ** 0.5 / 20)), n_iters=max(5, round(np.log2(len(x)))),
        max_candidates=30,  # 60 there: a third more time for a recall of .9995 instead of .998
    )  # fmt: skip
    indices, distances = search.neighbor_graph
    return indices.astype(np.int64), distances.astype(np.float64)


def _own_first(indices: Any, distances: Any, own: Any) -> None:
    """Put each cell before others at its own place, with a distance of exactly 0."""
    for row in np.flatnonzero(indices[:, 0] != own):
        found = np.flatnonzero(indices[row] == own[row])
        at = found[0] if len(found) else indices.shape[1] - 1
        indices[row, 1 : at + 1] = indices[row, :at]
        distances[row, 1 : at + 1] = distances[row, :at]
        indices[row, 0] = own[row]
    distances[:, 0] = 0.0
