"""Weighted nearest neighbours of two modalities (Hao et al. 2021), as coordinates."""

import numpy as np
from scipy import sparse

from dgnbench.embedding.neighbours import nearest
from dgnbench.modalities import components

EPSILON = 1e-4  # in the denominator of a score; Hao et al. 2021
LARGEST = 200.0  # score, as in Seurat
SMALLEST = 1e-12  # length or bandwidth


def joint_embedding(source, target, *, seed, n_components, n_neighbors):
    sides = [on_sphere(components(part, n_components, seed)(part)) for part in (source, target)]
    shares = np.sqrt(weights(*sides, n_neighbors))
    return np.hstack([x * share[:, None] for x, share in zip(sides, shares.T, strict=True)])


def on_sphere(x):
    """Cells (cells, dimensions) at length 1."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), SMALLEST)


def weights(x, y, k):
    """How much each of two modalities (cells, …) says about a cell, (cells, 2); rows sum to 1.

    A modality's score is the affinity of a cell to the mean of its `k` nearest cells in this modality over
    that to the mean of its nearest cells in the other one; weights are the softmax of scores.
    """
    found = [nearest(side, k + 1) for side in (x, y)]
    neighbours = [side.indices[:, 1:] for side in found]  # without the cell itself
    scores = []
    for side, first, own, other in zip(
        (x, y), (side.distances[:, 1] for side in found), neighbours, neighbours[::-1], strict=True
    ):
        width = np.maximum(bandwidth(side, own) - first, SMALLEST)
        within, across = (
            np.exp(-np.maximum(np.linalg.norm(side - side[of].mean(1), axis=1) - first, 0) / width)
            for of in (own, other)
        )
        scores.append(np.minimum(within / (across + EPSILON), LARGEST))
    of_x = 1 / (1 + np.exp(scores[1] - scores[0]))
    return np.column_stack([of_x, 1 - of_x])


def surroundings(neighbours):
    """A cell and its neighbours, as in Seurat; muon leaves out the cell itself."""
    return np.column_stack([np.arange(len(neighbours)), neighbours])


def bandwidth(x, neighbours):
    """Mean distance of a cell to the k cells with the least Jaccard similarity above 0 to it, (cells,).

    That is of the sets of a cell and its `neighbours` (cells, k); of equals the furthest are taken.
    """
    n, k = neighbours.shape
    members = surroundings(neighbours)
    starts = np.arange(n + 1) * members.shape[1]
    sets = sparse.csr_matrix((np.ones(members.size), members.ravel(), starts), (n, n))
    shared = (sets @ sets.T).tocoo()  # of sets of one size: in the order of Jaccard's similarity
    pairs = shared.row != shared.col
    one, other, common = shared.row[pairs], shared.col[pairs], shared.data[pairs]
    distance = np.linalg.norm(x[one] - x[other], axis=1)
    order = np.lexsort((-distance, common, one))
    one, distance = one[order], distance[order]
    least = np.arange(len(one)) - np.searchsorted(one, np.arange(n))[one] < k
    return np.bincount(one[least], distance[least]) / np.bincount(one[least])
