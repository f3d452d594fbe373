"""RNA and proteins of the same cells, driven by the same hidden state.

A cell has a type and a continuous state; genes and proteins load on both, so that a cell-type mean
cannot be the best predictor. Proteins are a mixture of negative binomials as in totalVI (Gayoso et
al. 2021): ambient background in every cell, foreground where the state calls for it.
"""

from __future__ import annotations

import numpy as np
from mudata import MuData

from dgnbench.simulating import annotated, expected_counts, library_sizes, named, negative_binomial

TYPE_SHARES = np.array([0.35, 0.25, 0.2, 0.15, 0.05])
N_STATES = 4  # continuous factors beside the type
LIBRARY = (2000.0, 0.35)  # median counts a cell and standard deviation of the log
DISPERSION = (2.0, 5.0)  # of genes, theta - 1: gamma shape and scale; var = mu + mu^2 / theta
PROTEIN_THETA = 8.0  # inverse dispersion of protein counts
BACKGROUND = (2.0, 0.5)  # mean and standard deviation of the log of ambient counts, by protein


def load(
    files: dict[str, str], *, n_cells: int, n_genes: int, n_proteins: int, seed: int
) -> MuData:
    """A MuData of ``rna`` (n_cells x n_genes) and ``protein`` (n_cells x n_proteins)."""
    rng = np.random.default_rng(seed)
    types = rng.choice(len(TYPE_SHARES), n_cells, p=TYPE_SHARES)
    batches = rng.choice(2, n_cells, p=[0.6, 0.4])
    type_factors = rng.normal(0, 1.2, (len(TYPE_SHARES), N_STATES))
    factors = type_factors[types] + rng.normal(0, 0.6, (n_cells, N_STATES))

    loadings = rng.normal(0, 0.4, (N_STATES, n_genes)) * (rng.random((N_STATES, n_genes)) < 0.4)
    log_rate = rng.normal(-1, 1.2, n_genes) + factors @ loadings
    bend = rng.normal(0, 0.4, (2, n_genes))
    log_rate += rng.normal(0, 0.25, (2, n_genes))[batches] + bend[batches] * np.tanh(log_rate)
    library = library_sizes(rng, np.full(n_cells, LIBRARY[0]), LIBRARY[1])
    library *= n_genes / 500  # depth a gene does not depend on n_genes
    mean = expected_counts(log_rate, library)
    counts = negative_binomial(rng, mean, rng.gamma(*DISPERSION, n_genes) + 1)

    protein_loadings = rng.normal(0, 1.0, (N_STATES, n_proteins))
    drive = factors @ protein_loadings + rng.normal(0, 0.5, n_proteins)
    ambient = np.exp(rng.normal(*BACKGROUND, n_proteins))
    background = ambient * np.exp(rng.normal(0, 0.25, (n_cells, 1)))
    # Foreground in the cells whose drive is above the protein's threshold, growing with the drive.
    present = rng.random((n_cells, n_proteins)) < 1 / (1 + np.exp(-2.5 * drive))
    foreground = ambient * np.exp(1.0 + np.log1p(np.exp(drive)))
    protein_mean = np.where(present, foreground, background)
    protein_mean *= np.exp(rng.normal(0, 0.15, (2, n_proteins)))[batches]
    proteins = negative_binomial(rng, protein_mean, PROTEIN_THETA)

    rna = annotated(
        counts,
        {"batch": named("batch", batches), "cell_type": named("type", types)},
        {"mean": mean},
    )
    protein = annotated(proteins, {})
    protein.var_names = [f"protein_{p}" for p in range(n_proteins)]
    return MuData({"rna": rna, "protein": protein})
