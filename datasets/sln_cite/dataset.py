"""Two panels of one study, on the proteins that both have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mudata import MuData

from dgnbench.reading import joined, read_h5ad_with_second

BAD_CLUSTERS = ("16,0", "17", "19", "21", "23", "24,0", "24,2", "25", "29")  # as scvi-tools drops


def load(files: dict[str, Path]) -> MuData:
    """Cells of the good clusters; batches are the authors' samples."""
    panels = {}
    for panel in ("sln_111", "sln_208"):
        data = read_h5ad_with_second(
            files[f"{panel}.h5ad"],
            {"rna": "X", "protein": "obsm/protein_expression"},
            {"batch": "batch", "cell_type": "cell_types"},
            keep=["leiden_subclusters"],
        )
        clusters = data["rna"].obs.pop("leiden_subclusters").astype(str)
        good = np.asarray(~clusters.isin(BAD_CLUSTERS))
        panels[panel] = {kind: data[kind][good].copy() for kind in ("rna", "protein")}
    return MuData(
        {
            kind: joined({panel: parts[kind] for panel, parts in panels.items()}, key="panel")
            for kind in ("rna", "protein")
        }
    )
