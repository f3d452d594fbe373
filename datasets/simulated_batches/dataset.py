"""Three batches, six cell types, negative binomial counts with a known mean.

log-rate = gene baseline + type programme + continuous state within the type, then a batch effect that
is not a shift: each batch bends a random half of the genes by its own saturating curve of the rate, and
weakens the type programmes by its own factor. Library sizes are log-normal and differ by batch. What
the same cells would have been in the first batch, at the same library size, is kept too.
"""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from dgnbench.simulating import annotated, expected_counts, library_sizes, named, negative_binomial

TYPE_SHARES = np.array([0.34, 0.24, 0.18, 0.13, 0.085, 0.025])  # the last one is rare
BATCH_SHARES = np.array([0.4, 0.35, 0.25])
MISSING = (4, 2)  # type 4 does not occur in batch 2
MEDIAN_LIBRARY = (1500.0, 1000.0, 2200.0)  # counts a cell, by batch
LIBRARY_SD = 0.35  # of the log; PBMC 10x data lie at 0.3-0.4
DISPERSION = (2.0, 5.0)  # of genes, theta - 1: gamma shape and scale; var = mu + mu^2 / theta


def load(files: dict[str, str], *, n_cells: int, n_genes: int, seed: int) -> AnnData:
    """`n_cells` x `n_genes` counts; ``layers["mean"]`` holds their expectation."""
    rng = np.random.default_rng(seed)
    types = rng.choice(len(TYPE_SHARES), n_cells, p=TYPE_SHARES)
    batches = rng.choice(len(BATCH_SHARES), n_cells, p=BATCH_SHARES)
    moved = (types == MISSING[0]) & (batches == MISSING[1])
    batches[moved] = rng.choice(2, moved.sum())
    for kind in range(len(TYPE_SHARES)):  # at least a handful of each type in each of its batches
        here = [b for b in range(3) if (kind, b) != MISSING]
        chosen = rng.choice(n_cells, 4 * len(here), replace=False)
        types[chosen], batches[chosen] = kind, np.repeat(here, 4)

    baseline = rng.normal(-1.0, 1.3, n_genes)
    programmes = rng.normal(0, 1.1, (len(TYPE_SHARES), n_genes)) * (
        rng.random((len(TYPE_SHARES), n_genes)) < 0.2
    )
    state_loadings = rng.normal(0, 0.35, (2, n_genes)) * (rng.random((2, n_genes)) < 0.3)
    states = rng.normal(0, 1, (n_cells, 2))

    effects = []  # of each batch: strength of the programmes, the bend's height and middle, shift
    for _ in BATCH_SHARES:
        strength = rng.uniform(0.8, 1.0)
        bent = rng.random(n_genes) < 0.5
        height = rng.normal(0, 0.6, n_genes) * bent
        middle = baseline + rng.normal(0, 0.5, n_genes)
        effects.append((strength, height, middle, rng.normal(0, 0.2, n_genes)))

    def log_rate(cells: np.ndarray, batch: int) -> np.ndarray:
        """Of these cells, had they been in that batch."""
        strength, height, middle, shift = effects[batch]
        raw = baseline + strength * programmes[types[cells]] + states[cells] @ state_loadings
        return raw + height * np.tanh(raw - middle) + shift

    measured = np.empty((n_cells, n_genes))
    for batch in range(len(BATCH_SHARES)):
        cells = np.flatnonzero(batches == batch)
        measured[cells] = log_rate(cells, batch)
    in_first = log_rate(np.arange(n_cells), 0)
    library = library_sizes(rng, np.array(MEDIAN_LIBRARY)[batches], LIBRARY_SD)
    library *= n_genes / 600  # depth a gene does not depend on n_genes
    mean = expected_counts(measured, library)
    counts = negative_binomial(rng, mean, rng.gamma(*DISPERSION, n_genes) + 1)
    return annotated(
        counts,
        {"batch": named("batch", batches), "cell_type": named("type", types)},
        {"mean": mean, "mean_without_batch": expected_counts(in_first, library)},
    )
