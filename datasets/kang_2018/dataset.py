"""Kang et al. 2018 with the Reactome pathways."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import read_gene_sets, read_h5ad, set_gene_sets

SMALLEST_SET = 12  # genes in the data, as in expiMap (10.1038/s41556-022-01072-x)


def load(files: dict[str, Path]) -> AnnData:
    """The batch is the patient, the condition control or stimulated."""
    data = read_h5ad(
        files["kang_2018.h5ad"],
        {"batch": "replicate", "cell_type": "cell_type", "condition": "label"},
    )
    sets = read_gene_sets(files["c2.cp.reactome.v4.0.symbols.gmt"])
    set_gene_sets(data, sets, smallest=SMALLEST_SET)
    return data
