"""PBMC 3k: raw counts, and the labels of the processed object."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import read_h5ad, with_table


def load(files: dict[str, Path]) -> AnnData:
    """The labelled cells, joined by barcode."""
    labelled = read_h5ad(files["pbmc3k.h5ad"], {"cell_type": "louvain"})
    counts = read_h5ad(files["pbmc3k_raw.h5ad"])
    return with_table(counts, labelled.obs, {"cell_type": "cell_type"}, "pbmc3k.h5ad")
