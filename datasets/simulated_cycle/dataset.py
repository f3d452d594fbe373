"""RNA and chromatin of the same cells with factors that both share and factors of one modality only.

A cell has a pseudotime along one path, whose stretches are its types, seen by RNA and chromatin; RNA
alone sees the cell cycle, chromatin alone a factor of its own. Peaks are Bernoulli around an accessibility.
"""

from __future__ import annotations

import numpy as np
from mudata import MuData

from dgnbench.simulating import (
    annotated,
    baseline,
    expected_counts,
    inverse_dispersions,
    library_sizes,
    named,
    negative_binomial,
)

# Ten genes each that mark the S and G2/M phases (Tirosh et al. 2016, 10.1126/science.aad0501).
S_GENES = ("MCM5", "PCNA", "TYMS", "FEN1", "MCM2", "MCM4", "RRM1", "GINS2", "MCM6", "CDC6")
G2M_GENES = ("HMGB2", "CDK1", "NUSAP1", "UBE2C", "BIRC5", "TPX2", "TOP2A", "CKS2", "MKI67", "CENPF")
N_TYPES, LENGTH = 4, 2.5  # a shared factor for every type; how far it carries
DEPTH_PER_GENE, OPEN = 4.0, 0.08  # counts a cell and gene; mean share of open peaks


def load(files: dict[str, str], *, n_cells: int, n_genes: int, n_peaks: int, seed: int) -> MuData:
    """A MuData of ``rna`` and ``atac``; ``obsm["shared"]`` of rna are the true shared factors."""
    rng = np.random.default_rng(seed)
    batch, time = rng.integers(2, size=n_cells), rng.random(n_cells)
    types = (time * N_TYPES).astype(int)
    # A path that turns into another direction with every type, and each cell around it.
    passed = np.clip(time[:, None] * N_TYPES - np.arange(N_TYPES), 0, 1)
    shared = LENGTH * passed + rng.normal(0, 0.3, (n_cells, N_TYPES))
    cycle, own = rng.random(n_cells) * 2 * np.pi, rng.normal(size=n_cells)

    loadings = rng.normal(0, 0.25, (N_TYPES, n_genes))
    n_marks = len(S_GENES)
    loadings[:, : 2 * n_marks] = 0  # the cycle is no part of what is shared
    log_rate = baseline(rng, n_genes) + shared @ loadings
    log_rate[:, :n_marks] += 1.5 * np.cos(cycle)[:, None]
    log_rate[:, n_marks : 2 * n_marks] += 1.5 * np.sin(cycle)[:, None]
    log_rate += rng.normal(0, 0.4, (2, n_genes))[batch]
    mean = expected_counts(log_rate, library_sizes(rng, np.full(n_cells, DEPTH_PER_GENE * n_genes)))
    counts = negative_binomial(rng, mean, inverse_dispersions(rng, mean))

    logit = np.log(OPEN / (1 - OPEN)) + rng.normal(0, 0.6, n_peaks)
    logit = logit + shared @ rng.normal(0, 0.5, (N_TYPES, n_peaks))
    logit += own[:, None] * rng.normal(0, 0.5, n_peaks) + rng.normal(0, 0.4, (n_cells, 1))  # depth
    logit += rng.normal(0, 0.2, (2, n_peaks))[batch]
    peaks = rng.random((n_cells, n_peaks)) < 1 / (1 + np.exp(-logit))

    rna = annotated(
        counts,
        {"batch": named("batch", batch), "cell_type": named("type", types), "pseudotime": time},
        {"mean": mean},
    )
    marked = [*S_GENES, *G2M_GENES]
    rna.var_names = [*marked, *(f"gene_{g}" for g in range(len(marked), n_genes))]
    rna.obsm["shared"] = shared
    atac = annotated(peaks, {})
    atac.var_names = [f"peak_{p}" for p in range(n_peaks)]
    return MuData({"rna": rna, "atac": atac})
