"""Peaks by cells from a matrix folder."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import read_10x_peaks


def load(files: dict[str, Path]) -> AnnData:
    """All filtered barcodes."""
    (path,) = files.values()
    return read_10x_peaks(path)
