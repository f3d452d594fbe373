"""RNA and chromatin peaks of the same cells, with factors of both and factors of one alone.

Log-rates of genes are linear in the factors, and so is the logit of how often a peak is open, which
bounds it. Fragments in peaks are Poisson around a cell's share of its own number of fragments: most
are 0 and most of the others 1, as in real data.
"""

from __future__ import annotations

import numpy as np
from mudata import MuData

from dgnbench import simulating

FRAGMENTS = 0.1  # a cell and peak
PEAK_LOGIT = (-2.0, 1.0)  # mean and standard deviation of how often a peak is open, by peak
# Standard deviation of the non-zero loadings of genes (noise in a type as in real data), peaks.
LOADINGS = (0.15, 0.6)


def load(
    files: dict[str, str], *, n_cells: int, n_genes: int, n_peaks: int, n_shared: int,
    n_private: int, seed: int,
) -> MuData:  # fmt: skip
    """A MuData of ``rna`` (n_cells x n_genes) and ``atac`` (n_cells x n_peaks)."""
    rng = np.random.default_rng(seed)
    cells = simulating.paired_cells(rng, n_cells, n_shared, n_private)
    rna = simulating.paired_rna(rng, cells, n_genes, LOADINGS[0])

    logit = simulating.log_rates(rng, cells, 1, rng.normal(*PEAK_LOGIT, n_peaks), LOADINGS[1])
    openness = -np.logaddexp(0, -logit)  # the log of a logistic function
    fragments = simulating.library_sizes(rng, np.full(n_cells, FRAGMENTS * n_peaks))
    peaks = rng.poisson(simulating.expected_counts(openness, fragments))
    atac = simulating.annotated(peaks, {})
    atac.var_names = [f"peak_{p}" for p in range(n_peaks)]
    return MuData({"rna": rna, "atac": atac})
