"""What is measured on an embedding: neighbours, silhouettes, mixing, clusters, explained variance.

Plain functions of arrays, with the definitions of scib-metrics (tests/reference/test_integration.py
compares every number), or of scIB where they say so. No JAX, no umap, and never a dense cells x cells
matrix. A module a question:

- `neighbours`: the nearest cells, exact or, of many cells, approximate with its recall measured;
- `graph`: connectivities, connected components, diffusion;
- `silhouettes`: of labels, and of batches within a label;
- `mixing`: LISI and kBET;
- `clusters`: k-means and Louvain, and how their clusters agree with labels;
- `variance`: how much of it a batch explains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from dgnbench.contract import RANK_TOLERANCE


def coordinates(output: Any) -> Any:
    """An embedding as dense float32, (cells, dimensions).

    Raises
    ------
    ValueError
        If values are not finite, or all cells lie at one point or on one line: such an embedding
        would get scores as if it were good.
    """
    dense = output.toarray() if sparse.issparse(output) else np.asarray(output)
    if not np.isfinite(dense).all():
        raise ValueError("degenerate embedding: values that are not finite")
    # rank by the dimensions' covariance: a decomposition of all cells would cost as much as the scores
    centred = dense - dense.mean(axis=0, dtype=np.float64)
    scale = np.linalg.norm(dense)
    largest = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))[::-1]
    if (largest > RANK_TOLERANCE * scale).sum() < 2:
        raise ValueError("degenerate embedding: all cells at one point or on one line")
    return np.ascontiguousarray(dense, dtype=np.float32)


def codes(column: Any, name: str) -> Any:
    """Labels as integers from 0 in the order of their names, (cells,).

    Parameters
    ----------
    column
        A pandas Series.
    name
        What it is called, for the error.

    Raises
    ------
    ValueError
        If a cell has none, or all have the same.
    """
    if column.isna().any():
        raise ValueError(f"{int(column.isna().sum())} cells have no {name}")
    names, found = np.unique(column.astype(str).to_numpy(), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"one {name} only; wanted at least two")
    return found
