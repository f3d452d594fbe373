"""One file with both modalities, told apart by the type of their features."""

from __future__ import annotations

from pathlib import Path

from mudata import MuData

from dgnbench.reading import gunzipped, read_h5ad_by_type


def load(files: dict[str, Path]) -> MuData:
    """Counts of ``rna`` and ``atac``; the batch is site and donor."""
    (path,) = files.values()
    with gunzipped(path) as plain:
        return read_h5ad_by_type(
            plain,
            {"rna": "GEX", "atac": "ATAC"},
            {"counts": "layers/counts", "batch": "batch", "cell_type": "cell_type"},
        )
