"""Paul et al. 2015 in the HDF5 file that the authors sent to scanpy."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from anndata import AnnData
from scipy import sparse

# Cell types of clusters 1 to 19 in the paper, as scanpy names them.
TYPES = 6 * ["Ery"] + [
    "MEP",
    "Mk",
    "GMP",
    "GMP",
    "DC",
    "Baso",
    "Baso",
    "Mo",
    "Mo",
    "Neu",
    "Neu",
    "Eos",
    "Lymph",
]


def load(files: dict[str, Path]) -> AnnData:
    """Counts of the informative genes."""
    with h5py.File(files["paul15.h5"]) as file:
        names = file["data.debatched_rownames"][:].astype(str)
        genes = np.array([name.split(";")[0] for name in names])
        informative = np.intersect1d(file["info.genes_strings"][:].astype(str), genes)
        rows = {gene: row for row, gene in reversed(list(enumerate(genes)))}  # the first of a name
        wanted = [rows[gene] for gene in informative]
        counts = file["data.debatched"][:].astype(np.float32)[wanted]
        clusters = file["cluster.id"][:].ravel().astype(int)
    data = AnnData(sparse.csr_matrix(counts.T))
    data.var_names = informative
    data.obs_names = [f"cell_{i}" for i in range(data.n_obs)]
    data.obs["cell_type"] = [f"{cluster}{TYPES[cluster - 1]}" for cluster in clusters]
    return data
