"""Visium spots with their places."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import read_visium


def load(files: dict[str, Path]) -> AnnData:
    """Spots under tissue; places in pixels of the full image."""
    return read_visium(
        files["V1_Adult_Mouse_Brain_filtered_feature_bc_matrix.h5"],
        files["V1_Adult_Mouse_Brain_spatial.tar.gz"],
    )
