"""Overlapping gene sets, some of them programmes whose activity is known, in five cell types, two
conditions and two batches.

log-rate = gene baseline + activities x loadings + batch shift. Each set has one role, which its name
does not tell: a programme of cell types, of the response to the treatment, of a state that varies from
cell to cell whatever its type, or a decoy without any effect, whose activity is zero. Most genes of an
active set respond to it, some do not, as in any data base. Genes outside all sets follow the baseline.
"""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from scipy import sparse

from dgnbench.simulating import (
    DEPTH,
    TYPE_LIBRARY_SD,
    annotated,
    baseline,
    expected_counts,
    inverse_dispersions,
    library_sizes,
    named,
    negative_binomial,
)

TYPE_SHARES = np.array([0.32, 0.26, 0.2, 0.14, 0.08])
BATCH_SHARES = np.array([0.5, 0.5])
BATCH_SD = 0.2  # of the log of a gene's rate, between batches
ROLES = ("type", "condition", "state", "decoy")
ROLE_SHARES = (0.35, 0.15, 0.2, 0.3)
RESPONDING = 0.8  # of the genes of an active set
# Reactome (MSigDB 4.0, 674 sets, 6,025 genes): sizes above 9 are log-normal with median 18 and 1.45
# as the standard deviation of the log; the largest holds 15 % of the genes. A gene is in 6.2 sets,
# variance 54, as if drawn with weights from a gamma distribution of shape 0.8.
SMALLEST, ABOVE, LARGEST = 9, (18.0, 1.45), 0.15
WEIGHT_SHAPE = 0.8


def _gene_sets(rng: np.random.Generator, n_genes: int, n_sets: int) -> np.ndarray:
    """Sets x genes, true where a gene is a member; some genes are in many sets, many in none."""
    sizes = SMALLEST + ABOVE[0] * np.exp(rng.normal(0, ABOVE[1], n_sets))
    sizes = sizes.round().astype(int).clip(1, max(1, round(LARGEST * n_genes)))
    weights = rng.gamma(WEIGHT_SHAPE, 1, n_genes) + 0.01
    members = np.zeros((n_sets, n_genes), dtype=bool)
    for row, size in zip(members, sizes, strict=True):
        row[rng.choice(n_genes, size, replace=False, p=weights / weights.sum())] = True
    return members


def load(files: dict[str, str], *, n_cells: int, n_genes: int, n_sets: int, seed: int) -> AnnData:
    """`n_cells` x `n_genes` counts; ``obsm["programmes"]`` holds the activity of every set."""
    rng = np.random.default_rng(seed)
    types = rng.choice(len(TYPE_SHARES), n_cells, p=TYPE_SHARES)
    batches = rng.choice(len(BATCH_SHARES), n_cells, p=BATCH_SHARES)
    treated = rng.random(n_cells) < 0.5  # in either batch

    members = _gene_sets(rng, n_genes, n_sets)
    # Every role has its share of sets; at random which.
    borders = np.round(np.cumsum(ROLE_SHARES)[:-1] * n_sets).astype(int)
    roles = rng.permutation(np.searchsorted(borders, np.arange(n_sets), side="right"))
    is_type, is_condition, is_state, is_decoy = (roles == r for r in range(len(ROLES)))

    of_type = rng.normal(0, 1.0, (len(TYPE_SHARES), n_sets)) * is_type
    # A response is in all types, but not equally strong: Kang's monocytes respond most.
    response = rng.uniform(0.8, 1.6, n_sets) * rng.choice([-1, 1], n_sets) * is_condition
    strength = rng.uniform(0.4, 1.0, len(TYPE_SHARES))
    activities = of_type[types] + (treated * strength[types])[:, None] * response
    activities += rng.normal(0, 1, (n_cells, n_sets)) * (0.8 * is_state + 0.2 * ~is_state)
    activities[:, is_decoy] = 0

    responding = members & (rng.random(members.shape) < RESPONDING)
    loadings = rng.gamma(4, 0.15, members.shape) * responding  # of a log-rate, 0.6 on average
    log_rate = baseline(rng, n_genes) + activities @ loadings
    shift = rng.normal(0, BATCH_SD, (len(BATCH_SHARES), n_genes))
    type_size = np.exp(rng.normal(0, TYPE_LIBRARY_SD, len(TYPE_SHARES)))
    library = library_sizes(rng, n_genes * DEPTH * type_size[types])
    mean = expected_counts(log_rate + shift[batches], library)
    counts = negative_binomial(rng, mean, inverse_dispersions(rng, mean))

    data = annotated(
        counts,
        {
            "batch": named("batch", batches),
            "cell_type": named("type", types),
            "condition": np.where(treated, "treated", "control"),
        },
        {"mean": mean, "mean_without_batch": expected_counts(log_rate + shift[0], library)},
    )
    data.obsm["programmes"] = activities.astype(np.float32)
    data.varm["gene_sets"] = sparse.csr_matrix(members.T, dtype=np.float32)
    data.uns["gene_sets"] = [f"set_{s}" for s in range(n_sets)]
    return data
