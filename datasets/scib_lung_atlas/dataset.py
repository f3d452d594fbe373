"""Human lung atlas as distributed with scIB, where the 10x batches do not hold counts."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import keep_integers, read_h5ad

DROP_SEQ = ("B1", "B2", "B3", "B4")


def load(files: dict[str, Path], *, counts: str) -> AnnData:
    """`counts`: ``integer_only`` or ``as_distributed``."""
    data = read_h5ad(
        files["Lung_atlas_public.h5ad"],
        {"counts": "layers/counts", "batch": "batch", "cell_type": "cell_type"},
    )
    if not keep_integers(counts):
        return data
    return data[data.obs["batch"].isin(DROP_SEQ)].copy()
