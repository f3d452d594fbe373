"""PBMC 68k of Zheng et al. 2017, as reduced by scanpy."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy import sparse

TARGET_SUM = 1e4  # scanpy stored log1p(counts / total * 1e4) with the total in obs["n_counts"]
LARGEST_RESIDUAL = 0.01  # of an integer; the largest relative one seen is 7.6e-4


def recover_counts(log_normalised: sparse.csr_matrix, totals: np.ndarray) -> sparse.csr_matrix:
    """Integer counts (cells x genes) from log1p CP10k and each cell's stored total.

    Raises ValueError where the values are not those of integer counts.
    """
    counts = sparse.csr_matrix(log_normalised, dtype=np.float64)
    per_value = np.repeat(np.asarray(totals, dtype=np.float64), np.diff(counts.indptr))
    exact = np.expm1(counts.data) * per_value / TARGET_SUM
    counts.data = np.round(exact)
    residual = np.abs(exact - counts.data) / np.maximum(counts.data, 1)
    if residual.max() > LARGEST_RESIDUAL:
        raise ValueError(f"not counts: a recovered value is {residual.max():.3g} off an integer")
    return counts


def load(files: dict[str, str]) -> AnnData:
    """700 cells x 765 genes with the ten cell types of the authors (`bulk_labels`)."""
    import scanpy

    stored = scanpy.datasets.pbmc68k_reduced()
    counts = recover_counts(stored.raw.X, stored.obs["n_counts"].to_numpy())
    data = AnnData(counts.astype(np.float32))
    data.obs_names, data.var_names = stored.obs_names, stored.raw.var_names
    data.obs["cell_type"] = stored.obs["bulk_labels"].to_numpy()
    return data
