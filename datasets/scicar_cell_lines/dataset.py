"""RNA and chromatin of single cells, each as a matrix and two tables."""

from __future__ import annotations

from pathlib import Path

from mudata import MuData

from dgnbench.reading import name_columns, read_mtx, read_table


def load(files: dict[str, Path]) -> MuData:
    """The cells that have both modalities."""
    parts = {}
    for kind, feature, name in (("rna", "gene", "gene_id"), ("atac", "peak", "peak")):
        cells = read_table(files[f"{kind}_cell.txt.gz"], index="sample")
        features = read_table(files[f"{kind}_{feature}.txt.gz"], index=name)
        parts[kind] = read_mtx(files[f"{kind}_{feature}_count.txt.gz"], cells.index, features.index)
        parts[kind].obs = cells
    columns = {"cell_type": "cell_name"}
    parts["rna"] = name_columns(parts["rna"], columns, files["rna_cell.txt.gz"].name)
    parts["atac"].obs = parts["atac"].obs[[]].copy()
    both = parts["rna"].obs_names.intersection(parts["atac"].obs_names)
    return MuData({kind: part[both].copy() for kind, part in parts.items()})
