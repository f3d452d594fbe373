"""The few transformations of counts that methods, metrics and splits share."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]

TARGET_SUM = 1e4  # counts per ten thousand, the field's habit


def library_size(counts: Any) -> FloatArray:
    """Counts a cell: shape (cells,), float64."""
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def log1p_cp10k(counts: Any) -> Any:
    """``log1p`` of counts per ten thousand.

    Parameters
    ----------
    counts
        Cells x genes, dense or sparse, on any scale: only proportions within a cell matter.

    Returns
    -------
    The same shape, float64, CSR where the input is sparse. A cell without counts stays zero.
    """
    size = library_size(counts)
    factor = np.divide(TARGET_SUM, size, out=np.zeros_like(size), where=size > 0)
    if sparse.issparse(counts):
        scaled = sparse.csr_matrix(sparse.diags(factor) @ counts.astype(np.float64))
        scaled.data = np.log1p(scaled.data)
        return scaled
    return np.log1p(np.asarray(counts, dtype=np.float64) * factor[:, None])


def clr_per_cell(counts: Any) -> FloatArray:
    """Centred log-ratio within a cell, as is usual for surface proteins.

    ``log1p(x / exp(sum(log1p(x)) / n_features))``; Stoeckius et al. 2017, 10.1038/nmeth.4380, in
    the zero-safe form of Seurat.

    Returns
    -------
    Dense float64, cells x features.
    """
    dense = counts.toarray() if sparse.issparse(counts) else np.asarray(counts)
    dense = dense.astype(np.float64)
    centre = np.exp(np.log1p(dense).mean(axis=1, keepdims=True))
    normalised: FloatArray = np.log1p(dense / centre)
    return normalised


def principal_components(matrix: Any, n: int, seed: int) -> Any:
    """A fitted scikit-learn PCA with at most `n` components, for dense or sparse input.

    ``.transform(x)`` gives scores, ``.components_`` the loadings. Components are limited by the
    matrix' smaller side minus one.
    """
    from sklearn.decomposition import PCA

    n = min(n, min(matrix.shape) - 1)
    if sparse.issparse(matrix):
        return PCA(n, svd_solver="arpack", random_state=seed).fit(sparse.csr_matrix(matrix))
    return PCA(n, random_state=seed).fit(matrix)


def inverse_dispersion(counts: Any, expected: Any) -> FloatArray:
    """The inverse dispersion of every gene around known expectations, by moments.

    From E[(x − μ)²] = μ + μ²/θ: θ = Σ μ² / Σ ((x − μ)² − μ), sums over cells.

    Parameters
    ----------
    counts, expected
        Cells x genes, dense.

    Returns
    -------
    Shape (genes,), between 1e-3 and 1e6; the latter, nearly Poisson, where nothing is dispersed.
    """
    excess = ((counts - expected) ** 2 - expected).sum(axis=0)
    squares = (expected**2).sum(axis=0)
    theta = np.divide(squares, excess, out=np.full_like(excess, 1e6), where=excess > 0)
    clipped: FloatArray = np.clip(theta, 1e-3, 1e6)
    return clipped


def binary(counts: Any) -> Any:
    """1 where there is a count and 0 elsewhere, float64, CSR where the input is sparse."""
    return (counts > 0).astype(np.float64)


def scale_of(modality: str) -> str:
    """The name of the scale on which a modality's values are predicted, as in NeurIPS 2021."""
    return {"protein": "clr_per_cell", "atac": "binary"}.get(modality, "log1p_cp10k")


def on_scale(counts: Any, scale: str) -> FloatArray:
    """Counts (cells, features) on a scale by its name in ``uns["scale"]``, dense float64.

    `clr_per_cell`, `log1p_cp10k` or `binary`, as those functions give them.
    """
    scales = {"clr_per_cell": clr_per_cell, "log1p_cp10k": log1p_cp10k, "binary": binary}
    values = scales[scale](counts)
    return np.asarray(values.toarray() if sparse.issparse(values) else values)
