"""Two tables, genes and proteins by cells."""

from __future__ import annotations

from pathlib import Path

from mudata import MuData

from dgnbench.reading import read_genes_by_cells


def load(files: dict[str, Path]) -> MuData:
    """All cells that both tables have."""
    parts = {kind: read_genes_by_cells(files[f"{kind}.csv.gz"]) for kind in ("rna", "protein")}
    both = parts["rna"].obs_names.intersection(parts["protein"].obs_names)
    return MuData({kind: part[both].copy() for kind, part in parts.items()})
