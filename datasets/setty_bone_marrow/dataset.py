"""Three donors; the counts lie in raw, X is normalised."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import joined, read_h5ad

COLUMNS = {"counts": "raw", "cell_type": "clusters", "pseudotime": "palantir_pseudotime"}


def load(files: dict[str, Path]) -> AnnData:
    """Cells of the donors on their common genes; a cluster's name is of its donor."""
    parts = {f"rep{i}": read_h5ad(files[f"human_cd34_bm_rep{i}.h5ad"], COLUMNS) for i in (1, 2, 3)}
    for name, part in parts.items():
        part.obs["cell_type"] = [f"{name}_{kind}" for kind in part.obs["cell_type"]]
    return joined(parts)
