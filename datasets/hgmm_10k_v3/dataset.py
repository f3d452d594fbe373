"""Species mixture: the genes carry the name of their genome in front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from anndata import AnnData

from dgnbench.reading import ReadError, read_10x_h5

DOUBLET_SHARE = 0.1  # of the rarer species; ambient RNA makes up a few per cent


def load(files: dict[str, Path]) -> AnnData:
    """Cell type is the species of most molecules."""
    (path,) = files.values()
    data = read_10x_h5(path)
    genome = data.var["genome"].astype(str)
    species = sorted(set(genome))
    if len(species) != 2:
        raise ReadError(f"{path.name}: wanted genes of two genomes, got {', '.join(species)}")
    totals = np.column_stack(
        [np.asarray(data.X[:, np.asarray(genome == name)].sum(axis=1)).ravel() for name in species]
    )
    data.obs["cell_type"] = np.array(species)[totals.argmax(axis=1)]
    data.obs["doublet"] = totals.min(axis=1) > DOUBLET_SHARE * totals.sum(axis=1)
    return data
