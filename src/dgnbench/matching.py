"""From two embeddings in one space to the probability that a cell of one is a cell of the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

MOST = 1000  # values a row, as the task takes
NEAR = 10  # neighbours whose mean distance is the unit
BLOCK = 1000  # rows that are ranked at a time: beside the weights no second matrix as large
SHARPNESS = 10  # a cell further by a tenth of the unit weighs 1 / e


def match(source: Any, target: Any) -> sparse.csr_matrix:
    """Weights of the thousand nearest target cells of every source cell.

    The weight falls exponentially with how much further a cell is than the nearest one, in units of a
    tenth of the mean distance to ten neighbours; far cells weigh next to nothing and are there for their
    order. O(source x target x dimensions) time, O(source x 1000) memory.

    Parameters
    ----------
    source, target
        (cells, dimensions), dense, in one space.

    Returns
    -------
    CSR (source cells, target cells) whose rows sum to 1.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(MOST, len(target))).fit(target)
    distances, indices = search.kneighbors(source)
    unit = max(float(distances[:, :NEAR].mean()), float(np.finfo(float).tiny)) / SHARPNESS
    weights = np.exp(-(distances - distances[:, :1]) / unit)
    weights /= weights.sum(axis=1, keepdims=True)
    starts = np.arange(0, weights.size + 1, weights.shape[1])
    return sparse.csr_matrix((weights.ravel(), indices.ravel(), starts), (len(source), len(target)))


def largest(log_weights: Any, n: int = MOST) -> sparse.csr_matrix:
    """The `n` largest weights of every row, divided by their sum.

    Parameters
    ----------
    log_weights
        Dense (source cells, target cells), natural log up to a constant of the row.
    n
        1000 is what the task takes.

    Returns
    -------
    CSR (source cells, target cells) whose rows sum to 1.
    """
    rows, columns = log_weights.shape
    k = min(n, columns)
    kept, weights = np.empty((rows, k), dtype=np.int64), np.empty((rows, k))
    for first in range(0, rows, BLOCK):
        block = log_weights[first : first + BLOCK]
        found = np.argpartition(-block, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(block, found, axis=1)
        shares = np.exp(values - values.max(axis=1, keepdims=True))
        kept[first : first + BLOCK] = found
        weights[first : first + BLOCK] = shares / shares.sum(axis=1, keepdims=True)
    starts = np.arange(0, rows * k + 1, k)
    return sparse.csr_matrix((weights.ravel(), kept.ravel(), starts), (rows, columns))


def sinkhorn(log_kernel: Any, rounds: int, tolerance: float = 1e-3) -> Any:
    """Entropic optimal transport between even marginals, in logarithms.

    Parameters
    ----------
    log_kernel
        Dense (n, m): minus cost over the entropic strength (Cuturi 2013, arXiv:1306.0895).
    rounds
        The most rounds of scaling, O(n m) each.
    tolerance
        It ends before when no column's sum is further from its marginal, relatively.

    Returns
    -------
    The log of the plan, (n, m); its rows sum to 1 / n.
    """
    from scipy.special import logsumexp

    n, m = log_kernel.shape
    of_columns = np.zeros(m)
    for _ in range(rounds):
        of_rows = -np.log(n) - logsumexp(log_kernel + of_columns, axis=1)
        missing = -np.log(m) - logsumexp(log_kernel + of_rows[:, None], axis=0) - of_columns
        if np.abs(missing).max() < tolerance:
            break
        of_columns += missing
    of_rows = -np.log(n) - logsumexp(log_kernel + of_columns, axis=1)
    return log_kernel + of_rows[:, None] + of_columns
