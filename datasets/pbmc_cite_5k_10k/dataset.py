"""Two CITE-seq runs of blood."""

from __future__ import annotations

from pathlib import Path

from mudata import MuData

from dgnbench.reading import joined, read_10x_h5, read_10x_mtx

TYPES = {"rna": "Gene Expression", "protein": "Antibody Capture"}


def load(files: dict[str, Path]) -> MuData:
    """All filtered barcodes of both runs, the genes and proteins that both have."""
    runs = {
        "pbmc5k": read_10x_h5(files["5k_pbmc_protein_v3_filtered_feature_bc_matrix.h5"], TYPES),
        "pbmc10k": read_10x_mtx(
            files["pbmc_10k_protein_v3_filtered_feature_bc_matrix.tar.gz"], TYPES
        ),
    }
    return MuData({kind: joined({run: data[kind] for run, data in runs.items()}) for kind in TYPES})
