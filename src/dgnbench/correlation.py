"""Row-wise and column-wise correlations, where a vector that does not vary counts 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

FLAT = 1e-12  # a norm below this share of the values' size is rounding, not variation
BLOCK = 1000  # rows that are made dense at a time


def mean_pearson(a: Any, b: Any, axis: int) -> float:
    """Mean Pearson correlation of the vectors along `axis` (0: every column's, 1: every row's).

    Parameters
    ----------
    a, b
        Dense or sparse, the same shape. A pair in which one does not vary counts 0, as in Open Problems:
        a constant prediction must not escape by being undefined.

    Notes
    -----
    O(rows * columns) time; beside the inputs `BLOCK` rows of each are dense, never a whole sparse matrix.
    """
    a, b = (sparse.csr_matrix(m) if sparse.issparse(m) else np.asarray(m) for m in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"correlation: wanted two matrices of one shape, got {a.shape}, {b.shape}")
    if axis == 1:
        return float(np.concatenate([_of_rows(*blocks) for blocks in _blocks(a, b)]).mean())
    means = [np.asarray(m.sum(axis=0, dtype=np.float64)).ravel() / a.shape[0] for m in (a, b)]
    # sums over the cells: of products and squares of what is left without the means, and of squares
    sums = np.zeros((5, a.shape[1]))
    for x, y in _blocks(a, b):
        u, v = x - means[0], y - means[1]
        sums += [(p * q).sum(axis=0) for p, q in ((u, v), (u, u), (v, v), (x, x), (y, y))]
    together, *squares = sums
    return float(_r(together, *np.sqrt(squares)).mean())


def _blocks(a: Any, b: Any) -> Any:
    """Some rows of both at a time, dense float64."""
    for first in range(0, a.shape[0], BLOCK):
        both = (m[first : first + BLOCK] for m in (a, b))
        yield [np.asarray(m.toarray() if sparse.issparse(m) else m, dtype=np.float64) for m in both]


def _of_rows(x: Any, y: Any) -> Any:
    u, v = (m - m.mean(axis=1, keepdims=True) for m in (x, y))
    return _r((u * v).sum(axis=1), *(np.linalg.norm(m, axis=1) for m in (u, v, x, y)))


def _r(together: Any, norm_a: Any, norm_b: Any, size_a: Any, size_b: Any) -> Any:
    varies = (norm_a > FLAT * size_a) & (norm_b > FLAT * size_b)
    product = norm_a * norm_b
    return np.divide(together, product, out=np.zeros_like(product), where=varies)


def mean_spearman(a: Any, b: Any, axis: int) -> float:
    """As `mean_pearson`, of ranks (ties get their mean rank).

    Notes
    -----
    O(rows * columns * log) time; beside the inputs some vectors at a time are dense, as many values as
    `BLOCK` rows or columns have.
    """
    from scipy.stats import rankdata

    if axis == 0:
        a, b = (m.T.tocsr() if sparse.issparse(m) else np.asarray(m).T for m in (a, b))
    a, b = (sparse.csr_matrix(m) if sparse.issparse(m) else np.asarray(m) for m in (a, b))
    if a.shape != b.shape:
        raise ValueError(f"correlation: wanted two matrices of one shape, got {a.shape}, {b.shape}")
    ranked = ([rankdata(m, axis=1) for m in blocks] for blocks in _blocks(a, b))
    return float(np.concatenate([_of_rows(*blocks) for blocks in ranked]).mean())
