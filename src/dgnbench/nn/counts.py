"""Counts of cells as sparse rows; a minibatch is a view of some of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

ROOM = 0.5  # share of a GPU's free memory that counts may take; the rest is the training's


@dataclass(frozen=True)
class Counts:
    """Sparse rows (cells, n_genes) without stored zeros.

    Row i is ``genes[first[i]:last[i]]`` and the same of `values`. A minibatch holds other `first` and
    `last` and the same `genes` and `values`: taking one copies nothing and asks no device for anything.
    On a GPU all lies there if it fits; else the rows stay in the host's memory, and each minibatch
    is copied from page-locked memory while the GPU works on the one before.

    `first` and `last` (cells,) int64; `genes` and `values` (non-zeros,), int32 and float32; `library`,
    the sum of every row, (cells,), on the device that works; `longest`, the largest number of
    non-zeros in a row of all cells; `logged`, whether ln(1 + x) stands for the values.
    """

    first: Tensor
    last: Tensor
    genes: Tensor
    values: Tensor
    library: Tensor
    n_genes: int
    longest: int
    logged: bool = False
    _seen: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, matrix: Any, device: torch.device | str = "cpu") -> Counts:
        """From a NumPy or SciPy matrix (cells, genes), which stays as it is.

        Nothing is copied on the CPU, if it is CSR in float32 without stored zeros or duplicates.
        """
        rows = sparse.csr_matrix(matrix, dtype=np.float32)
        if not rows.has_canonical_format or np.count_nonzero(rows.data) < rows.nnz:
            rows = rows.copy()
            rows.sum_duplicates()
            rows.eliminate_zeros()
        library = np.asarray(rows.sum(axis=1), dtype=np.float32).ravel()
        starts = rows.indptr.astype(np.int64)
        arrays = starts[:-1], starts[1:], rows.indices.astype(np.int32, copy=False), rows.data
        device = torch.device(device)
        home = device if _fits(sum(a.nbytes for a in arrays), device) else "cpu"
        first, last, genes, values = (torch.as_tensor(a, device=home) for a in arrays)
        longest = int(np.diff(starts).max(initial=0))
        total = torch.as_tensor(library, device=device)
        return cls(first, last, genes, values, total, rows.shape[1], longest)

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, n_genes)."""
        return len(self), self.n_genes

    @property
    def home(self) -> torch.device:
        """Where the rows lie, and where the numbers of a minibatch's cells had best lie."""
        return self.first.device

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, cells: Tensor) -> Counts:
        """The rows of `cells` (n,), in their order; a cell may come twice."""
        here = cells.to(self.home)
        first, last, library = self.first[here], self.last[here], self.library[cells]
        return replace(self, first=first, last=last, library=library, _seen={})

    def log1p(self) -> Counts:
        """The same rows with ln(1 + x) as values, and the library of the counts."""
        return replace(self, logged=True)

    def density(self) -> float:
        """Share of non-zeros; on a GPU this waits for it."""
        return float((self.last - self.first).sum()) / (len(self) * self.n_genes)

    def padded(self) -> tuple[Tensor, Tensor]:
        """Genes (int64) and values of the non-zeros, (cells, longest) both, on the device that works.

        A row with fewer goes on with values of 0 at whatever genes. The shape does not depend on which
        cells these are, so that a step over them can be recorded as a CUDA graph.
        """
        if "padded" not in self._seen:  # by a decoder and an encoder, which sees the logarithms
            place = self.first[:, None] + torch.arange(self.longest, device=self.home)
            inside = place < self.last[:, None]
            place = place.clamp_(max=max(0, len(self.values) - 1))
            rows = self.genes[place].long(), torch.where(inside, self.values[place], 0.0)
            self._seen["padded"] = self._to_work(rows[0]), self._to_work(rows[1])
        genes, values = self._seen["padded"]
        return genes, values.log1p() if self.logged else values

    def dense(self) -> Tensor:
        """(cells, n_genes), on the device that works."""
        genes, values = self.padded()
        return values.new_zeros(self.shape).scatter_add_(1, genes, values)

    def _to_work(self, x: Tensor) -> Tensor:
        device = self.library.device
        return x if x.device == device else x.pin_memory().to(device, non_blocking=True)


def _fits(n_bytes: int, device: torch.device) -> bool:
    """Whether arrays of that size may lie on the device."""
    return device.type != "cuda" or n_bytes < ROOM * torch.cuda.mem_get_info(device)[0]
