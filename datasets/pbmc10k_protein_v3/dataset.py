"""PBMC with proteins from a matrix folder."""

from __future__ import annotations

from pathlib import Path

from mudata import MuData

from dgnbench.reading import read_10x_mtx


def load(files: dict[str, Path]) -> MuData:
    """All filtered barcodes."""
    (path,) = files.values()
    return read_10x_mtx(path, {"rna": "Gene Expression", "protein": "Antibody Capture"})
