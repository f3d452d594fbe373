"""RNA and surface proteins of the same cells, with factors of both and factors of one alone.

Log-rates are linear in the factors. Proteins are negative binomial, without an ambient background:
`simulated_cite` has one, where it is the shape of the counts and not the factors that matters.
"""

from __future__ import annotations

import numpy as np
from mudata import MuData

from dgnbench import simulating

PROTEIN_LOG_MEAN = (3.0, 1.0)  # mean and standard deviation, by protein: tens of counts a cell
PROTEIN_THETA = 8.0  # inverse dispersion of protein counts
# Standard deviation of the non-zero loadings of genes (noise in a type as in real data), proteins.
LOADINGS = (0.15, 0.35)


def load(
    files: dict[str, str], *, n_cells: int, n_genes: int, n_proteins: int, n_shared: int,
    n_private: int, seed: int,
) -> MuData:  # fmt: skip
    """A MuData of ``rna`` (n_cells x n_genes) and ``protein`` (n_cells x n_proteins)."""
    rng = np.random.default_rng(seed)
    cells = simulating.paired_cells(rng, n_cells, n_shared, n_private)
    rna = simulating.paired_rna(rng, cells, n_genes, LOADINGS[0])

    base = rng.normal(*PROTEIN_LOG_MEAN, n_proteins)
    protein_mean = np.exp(simulating.log_rates(rng, cells, 1, base, LOADINGS[1]))
    protein = simulating.annotated(
        simulating.negative_binomial(rng, protein_mean, PROTEIN_THETA), {}
    )
    protein.var_names = [f"protein_{p}" for p in range(n_proteins)]
    return MuData({"rna": rna, "protein": protein})
