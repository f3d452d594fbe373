"""Human immune cells as distributed with scIB, where one batch does not hold counts."""

from __future__ import annotations

from pathlib import Path

from anndata import AnnData

from dgnbench.reading import keep_integers, read_h5ad


def load(files: dict[str, Path], *, counts: str) -> AnnData:
    """`counts`: ``integer_only`` or ``as_distributed``."""
    data = read_h5ad(
        files["Immune_ALL_human.h5ad"],
        {"counts": "layers/counts", "batch": "batch", "cell_type": "final_annotation"},
    )
    if not keep_integers(counts):
        return data
    return data[data.obs["batch"] != "Villani"].copy()  # TPM: every cell sums to 1e6
