"""Two matrices with their barcodes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from mudata import MuData

from dgnbench.reading import read_mtx


def _lines(path: Path) -> list[str]:
    return list(pd.read_csv(path, sep="\t", header=None)[0].astype(str))


def load(files: dict[str, Path]) -> MuData:
    """The cells that both modalities have."""
    parts = {
        kind: read_mtx(
            files[f"{kind}.counts.mtx.gz"],
            _lines(files[f"{kind}.barcodes.tsv.gz"]),
            _lines(files[f"{kind}.{features}.tsv.gz"]),
        )
        for kind, features in (("rna", "genes"), ("atac", "peaks"))
    }
    both = parts["rna"].obs_names.intersection(parts["atac"].obs_names)
    return MuData({kind: part[both].copy() for kind, part in parts.items()})
