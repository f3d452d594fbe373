"""Two raw bone marrow samples."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import joined, read_10x_h5


def load(files: dict[str, Path]) -> AnnData:
    """Filtered barcodes of both samples."""
    samples = ("s1d1", "s1d3")
    return joined(
        {name: read_10x_h5(files[f"{name}_filtered_feature_bc_matrix.h5"]) for name in samples}
    )
