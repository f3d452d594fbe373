"""A differentiation that branches: a trunk, then two or three fates, in two batches.

Cells lie at random along pseudotime 0 to 1; after `SPLIT` each is on one branch. A gene's log-rate
follows the sum of smooth courses (a rise, a fall or a transient peak): one of pseudotime, shared by all
branches, and one of the time since the split on each branch, which starts at zero, so that the branches
part smoothly. Library sizes are log-normal; batches differ by a shift of each gene.
"""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy.special import expit

from dgnbench.contract import DgnbenchError
from dgnbench.simulating import (
    DEPTH,
    annotated,
    baseline,
    expected_counts,
    inverse_dispersions,
    library_sizes,
    named,
    negative_binomial,
)

SPLIT = 0.4  # the pseudotime at which the branches part
BRANCH_SHARES = np.array([0.45, 0.33, 0.22])
BATCH_SHARES = np.array([0.6, 0.4])
BATCH_SD = 0.2  # of the log of a gene's rate, between batches
SHARED, OWN = 0.4, 0.2  # shares of genes with a course common to all, and with one on a branch
HEIGHT = 1.5  # standard deviation of a course's height, of the log-rate


def _courses(rng: np.random.Generator, time: np.ndarray, n_genes: int, share: float) -> np.ndarray:
    """Cells x genes: a share of the genes rises, falls or peaks between time 0 and 1; 0 at 0."""
    height = rng.normal(0, HEIGHT, n_genes) * (rng.random(n_genes) < share)
    peaks = rng.random(n_genes) < 1 / 3
    middle, width = rng.uniform(0.2, 0.8, n_genes), rng.uniform(0.08, 0.2, n_genes)

    def course(time: np.ndarray) -> np.ndarray:
        along = (time[:, None] - middle) / width
        return np.where(peaks, np.exp(-(along**2) / 2), expit(2 * along))

    return height * (course(time) - course(np.zeros(1)))


def load(
    files: dict[str, str], *, n_cells: int, n_genes: int, n_branches: int, seed: int
) -> AnnData:
    """`n_cells` x `n_genes` counts with ``obs["pseudotime"]`` and the branch as ``cell_type``."""
    if n_branches not in (2, 3):
        raise DgnbenchError(f"n_branches: wanted 2 or 3, got {n_branches}")
    rng = np.random.default_rng(seed)
    pseudotime = rng.uniform(0, 1, n_cells)
    shares = BRANCH_SHARES[:n_branches] / BRANCH_SHARES[:n_branches].sum()
    fates = rng.choice(n_branches, n_cells, p=shares)
    batches = rng.choice(len(BATCH_SHARES), n_cells, p=BATCH_SHARES)

    log_rate = baseline(rng, n_genes) + _courses(rng, pseudotime, n_genes, SHARED)
    since_split = np.maximum(pseudotime - SPLIT, 0) / (1 - SPLIT)
    for branch in range(n_branches):
        log_rate += (fates == branch)[:, None] * _courses(rng, since_split, n_genes, OWN)
    shift = rng.normal(0, BATCH_SD, (len(BATCH_SHARES), n_genes))
    library = library_sizes(rng, np.full(n_cells, n_genes * DEPTH))
    mean = expected_counts(log_rate + shift[batches], library)
    counts = negative_binomial(rng, mean, inverse_dispersions(rng, mean))
    segments = np.where(pseudotime < SPLIT, "trunk", np.char.add("branch_", fates.astype(str)))
    return annotated(
        counts,
        {"batch": named("batch", batches), "cell_type": segments, "pseudotime": pseudotime},
        {"mean": mean, "mean_without_batch": expected_counts(log_rate + shift[0], library)},
    )
