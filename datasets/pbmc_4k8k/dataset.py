"""Two 10x runs of one donor."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import joined, read_10x_mtx


def load(files: dict[str, Path]) -> AnnData:
    """All filtered barcodes of both runs on their common genes."""
    return joined({run: read_10x_mtx(files[f"{run}.tar.gz"]) for run in ("pbmc8k", "pbmc4k")})
