"""Row-wise and column-wise correlations, where a vector that does not vary counts 0."""

from __future__ import annotations

from typing import Any

import numpy as np

FLAT = 1e-12  # a norm below this share of the values' size is rounding, not variation


def mean_pearson(a: Any, b: Any, axis: int) -> float:
    """Mean Pearson correlation of the vectors along `axis` (0: every column's, 1: every row's).

    Parameters
    ----------
    a, b
        Dense, the same shape. A pair in which one does not vary counts 0, as in Open Problems: a
        constant prediction must not escape by being undefined.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    size_a, size_b = np.linalg.norm(a, axis=axis), np.linalg.norm(b, axis=axis)
    a = a - a.mean(axis=axis, keepdims=True)
    b = b - b.mean(axis=axis, keepdims=True)
    norm_a, norm_b = np.linalg.norm(a, axis=axis), np.linalg.norm(b, axis=axis)
    varies = (norm_a > FLAT * size_a) & (norm_b > FLAT * size_b)
    product = norm_a * norm_b
    r = np.divide((a * b).sum(axis=axis), product, out=np.zeros_like(product), where=varies)
    return float(r.mean())


def mean_spearman(a: Any, b: Any, axis: int) -> float:
    """As `mean_pearson`, of ranks (ties get their mean rank)."""
    from scipy.stats import rankdata

    return mean_pearson(rankdata(a, axis=axis), rankdata(b, axis=axis), axis)
