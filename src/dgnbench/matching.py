"""From two embeddings in one space to the probability that a cell of one is a cell of the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

N_NEIGHBORS = 10
SHARPNESS = 10  # a neighbour further by a tenth of the mean distance weighs 1 / e


def match(source: Any, target: Any, n_neighbors: int = N_NEIGHBORS) -> sparse.csr_matrix:
    """Weights of the nearest target cells of every source cell.

    The weight falls exponentially with how much further a cell is than the nearest one, in units of a
    tenth of the mean distance to the neighbours. O(source x target x dimensions) time, O(source x
    neighbours) memory.

    Parameters
    ----------
    source, target
        (cells, dimensions), dense, in one space.
    n_neighbors
        How many target cells get a weight, or all where there are fewer.

    Returns
    -------
    CSR (source cells, target cells) whose rows sum to 1.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(target))).fit(target)
    distances, indices = search.kneighbors(source)
    unit = max(float(distances.mean()), float(np.finfo(float).tiny)) / SHARPNESS
    weights = np.exp(-(distances - distances[:, :1]) / unit)
    weights /= weights.sum(axis=1, keepdims=True)
    starts = np.arange(0, weights.size + 1, weights.shape[1])
    return sparse.csr_matrix((weights.ravel(), indices.ravel(), starts), (len(source), len(target)))
