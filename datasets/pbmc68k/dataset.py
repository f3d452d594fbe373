"""PBMC 68k: counts of 10x, labels of the authors."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import read_10x_mtx, read_table, with_table


def load(files: dict[str, Path]) -> AnnData:
    """All cells, joined with their labels by barcode, never by order."""
    path = files["68k_pbmc_barcodes_annotation.tsv"]
    labels = read_table(path, "\t", index="barcodes")
    counts = read_10x_mtx(files["fresh_68k_pbmc_donor_a.tar.gz"])
    return with_table(counts, labels, {"cell_type": "celltype"}, path.name)
