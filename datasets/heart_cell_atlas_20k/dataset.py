"""Heart Cell Atlas, subsampled for scvi-tools."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import read_h5ad

NO_TYPE = ("doublets", "NotAssigned")


def load(files: dict[str, Path]) -> AnnData:
    """Cells with a type; the batch is the donor."""
    data = read_h5ad(files["hca_subsampled_20k.h5ad"], {"batch": "donor", "cell_type": "cell_type"})
    return data[~data.obs["cell_type"].isin(NO_TYPE)].copy()
