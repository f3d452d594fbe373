"""What every task's split needs: rows in a new order under new names, and nothing undeclared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from anndata import AnnData

TEST_FRACTION = 0.2  # of the cells, where there is one batch only


def batches(data: AnnData) -> Any:
    """The batch of every cell under neutral names (``b0``, ``b1``, …), or None without batches.

    The names are renumbered because a donor's or lab's name can give away what is hidden.
    """
    if "batch" not in data.obs:
        return None
    codes = pd.Categorical(data.obs["batch"]).remove_unused_categories().codes
    return pd.Series([f"b{code}" for code in codes], index=data.obs_names, dtype="category")


def generator(counts: sparse.csr_matrix, seed: int) -> np.random.Generator:
    """The random numbers of a split, from the seed and the dataset's counts.

    A method is given the same seed. If that alone made the numbers, it could draw them again and undo
    the new order of the cells; who lacks the counts in their first order cannot.
    """
    digest = hashlib.sha256()
    for array in (counts.indptr, counts.indices, counts.data):
        digest.update(np.ascontiguousarray(array).data)
    return np.random.default_rng([seed, int.from_bytes(digest.digest()[:8], "little")])


def part(
    matrix: Any,
    name: str,
    genes: Sequence[str] | pd.Index[str] | None = None,
    *,
    n: int | None = None,
    **columns: Any,
) -> AnnData:
    """A part of a problem or solution: a matrix, neutral cell ids, and only the columns named.

    Parameters
    ----------
    matrix
        Cells x features; CSR stays CSR. None for a part of `n` cells without features.
    name
        The prefix of the cell ids: ``train`` gives ``train_0``, ``train_1``, …
    genes
        Feature names.
    n
        Number of cells, where `matrix` is None.
    **columns
        Columns of `obs`, in the order of the rows; None values are left out.
    """
    from anndata import AnnData

    given = {key: column for key, column in columns.items() if column is not None}
    rows = int(n or 0) if matrix is None else int(matrix.shape[0])
    ids = pd.Index([f"{name}_{i}" for i in range(rows)], dtype=str)
    obs = pd.DataFrame(
        {key: pd.Categorical(np.asarray(column)) for key, column in given.items()}, index=ids
    )
    if matrix is None:
        return AnnData(obs=obs)
    if sparse.issparse(matrix):
        matrix = sparse.csr_matrix(matrix, dtype=np.float32)
        matrix.sort_indices()
    else:
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    var = pd.DataFrame(index=pd.Index(genes if genes is not None else [], dtype=str))
    return AnnData(matrix, obs=obs, var=var)


def rows_of(column: Any, rows: Any) -> Any:
    """``column[rows]`` as an array, or None where there is no such column."""
    return None if column is None else np.asarray(column)[rows]


def seen_genes(counts: Any) -> Any:
    """The indices of the genes with a count in these (training) cells: no method can learn others."""
    return np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)


def test_cells(batch: Any, order: Any, seed: int) -> Any:
    """Which cells of `order` are test cells of a task that splits by batch, a boolean mask.

    The cells of one batch, which the seed chooses, so that it is unseen as in use; where there are no
    two batches, the first `TEST_FRACTION` of the order.
    """
    levels = [] if batch is None else sorted(batch.unique())
    if len(levels) > 1:
        return np.asarray(batch)[order] == levels[seed % len(levels)]
    return np.arange(len(order)) < round(TEST_FRACTION * len(order))


def column(data: AnnData, name: str) -> Any:
    """An `obs` column, or None where the dataset has none."""
    return np.asarray(data.obs[name]) if name in data.obs else None
