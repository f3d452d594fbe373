"""1.3 million neurons, of which as many are read as asked for."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from anndata import AnnData
from scipy import sparse

RUN = 1000  # neighbouring cells in the file that are read together


def load(files: dict[str, Path], *, n_cells: int) -> AnnData:
    """`n_cells` in runs of `RUN`, evenly spread over the file, so that every library is there."""
    with h5py.File(files["1M_neurons.h5"]) as file:
        group = file["mm10"]
        n_genes, n_all = (int(n) for n in group["shape"][:])
        wanted = min(n_cells, n_all)
        n_runs = -(-wanted // RUN)
        if n_runs * RUN < n_all:
            starts = np.linspace(0, n_all - RUN, n_runs).astype(int)
        else:
            starts = np.arange(0, n_all, RUN)
        blocks, cells = [], []
        for start in starts:
            edges = group["indptr"][start : start + RUN + 1].astype(np.int64)
            span = slice(int(edges[0]), int(edges[-1]))
            block = (
                group["data"][span].astype(np.float32),
                group["indices"][span].astype(np.int32),
                edges - edges[0],
            )
            blocks.append(sparse.csr_matrix(block, shape=(len(edges) - 1, n_genes)))
            cells += [name.decode() for name in group["barcodes"][start : start + RUN]]
        genes = [name.decode() for name in group["gene_names"][:]]
    data = AnnData(sparse.vstack(blocks, format="csr")[:wanted])
    data.obs_names, data.var_names = cells[:wanted], genes
    data.var_names_make_unique()
    return data
