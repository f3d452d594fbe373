"""Two cell lines and their mixture."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import joined, read_10x_mtx


def load(files: dict[str, Path]) -> AnnData:
    """Filtered barcodes of the three runs."""
    return joined(
        {run: read_10x_mtx(files[f"{run}.tar.gz"]) for run in ("jurkat", "293t", "mixture")}
    )
