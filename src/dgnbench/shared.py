"""What several metrics of a run need is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Shared:
    """Two memos: one for this output, one for all outputs that share a solution.

    Parameters
    ----------
    solution_memo
        The dict that all runs of a (task, dataset, replicate) hand around; None starts a new one.
    """

    def __init__(self, solution_memo: dict[str, Any] | None = None) -> None:
        self._run: dict[str, Any] = {}
        self._solution = {} if solution_memo is None else solution_memo

    def per_run(self, key: str, compute: Callable[[], T]) -> T:
        """``compute()`` the first time `key` is asked for in this run."""
        if key not in self._run:
            self._run[key] = compute()
        return self._run[key]  # type: ignore[no-any-return]

    def per_solution(self, key: str, compute: Callable[[], T]) -> T:
        """``compute()`` the first time `key` is asked for with this solution."""
        if key not in self._solution:
            self._solution[key] = compute()
        return self._solution[key]  # type: ignore[no-any-return]


def nearest_neighbors(x: Any, k: int) -> tuple[Any, Any]:
    """The exact `k` nearest neighbours of every row, itself first at distance exactly 0.

    Parameters
    ----------
    x
        Cells x dimensions, dense.
    k
        Neighbours a cell, itself included; at most the number of cells.

    Returns
    -------
    indices, distances
        Both (cells, k); distances are Euclidean and ascending. Blocked: never a dense cells x cells
        matrix. UMAP's connectivities take a tiny non-zero self-distance for a neighbour, so the
        first column is set, not computed.
    """
    from sklearn.neighbors import NearestNeighbors

    x = np.ascontiguousarray(x, dtype=np.float64)
    k = min(k, len(x))
    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x).kneighbors(x)
    own = np.arange(len(x))
    for row in np.flatnonzero(indices[:, 0] != own):  # duplicated cells may stand before oneself
        found = np.flatnonzero(indices[row] == row)
        at = found[0] if len(found) else k - 1
        indices[row, 1 : at + 1] = indices[row, :at]
        indices[row, 0] = row
        distances[row, 1 : at + 1] = distances[row, :at]
    distances[:, 0] = 0.0
    return indices, distances
