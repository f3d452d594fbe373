"""sci-Plex 3 in the file of scPerturb, where some nuclei have no compound or line."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import only_labelled, read_h5ad


def load(files: dict[str, Path]) -> AnnData:
    """Nuclei whose hashes tell both; the cell type is the line, the condition the compound."""
    (path,) = files.values()
    data = read_h5ad(path, {"cell_type": "cell_line", "condition": "perturbation"})
    return only_labelled(data, "cell_type", "condition")
