"""Counts of cells as sparse rows on the device; minibatches are rows gathered there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """Compressed sparse rows (cells, n_genes) without stored zeros, on one device.

    `starts` (cells + 1,) int64; `genes` and `values` (non-zeros,), int32 and float32; `library`, the
    sum of every row, (cells,).
    """

    starts: Tensor
    genes: Tensor
    values: Tensor
    library: Tensor
    n_genes: int

    @classmethod
    def of(cls, matrix: Any, device: torch.device | str = "cpu") -> Counts:
        """From a NumPy or SciPy matrix (cells, genes), which stays as it is."""
        rows = sparse.csr_matrix(matrix, dtype=np.float32, copy=True)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        library = np.asarray(rows.sum(axis=1), dtype=np.float32).ravel()
        arrays = rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, library
        starts, genes, values, sums = (torch.as_tensor(a, device=device) for a in arrays)
        return cls(starts, genes, values, sums, rows.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, n_genes)."""
        return len(self), self.n_genes

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, cells: Tensor) -> Counts:
        """The rows of `cells` (n,), in their order; a cell may come twice."""
        first = self.starts[cells]
        lengths = self.starts[cells + 1] - first
        starts = torch.zeros(len(cells) + 1, dtype=torch.int64, device=cells.device)
        torch.cumsum(lengths, 0, out=starts[1:])
        if _compiled_here(cells):
            from dgnbench.nn import kernels

            n = int(starts[-1])
            genes, values = self.genes.new_empty(n), self.values.new_empty(n)
            of_all = self.starts, self.genes, self.values, cells
            kernels.gather(*(part.numpy() for part in (*of_all, starts, genes, values)))
        else:
            places = torch.repeat_interleave(first - starts[:-1], lengths)
            places += torch.arange(len(places), device=cells.device)
            genes, values = self.genes[places], self.values[places]
        return Counts(starts, genes, values, self.library[cells], self.n_genes)

    def places(self) -> tuple[Tensor, Tensor]:
        """Row and column of every non-zero, (non-zeros,) int64 both."""
        every = torch.arange(len(self), device=self.starts.device)
        return torch.repeat_interleave(every, self.starts.diff()), self.genes.long()

    def log1p(self) -> Counts:
        """The same rows with ln(1 + x) as values, and the library of the counts."""
        return replace(self, values=self.values.log1p())

    def dense(self) -> Tensor:
        """(cells, n_genes)."""
        out = torch.zeros(len(self), self.n_genes, device=self.values.device)
        out[self.places()] = self.values
        return out


def _compiled_here(tensor: Tensor) -> bool:
    """Whether the kernels can work on it."""
    return tensor.device.type == "cpu"
