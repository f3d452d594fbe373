"""Six cell types in two batches; some droplets caught two cells.

Cells are simulated first, one for each droplet and a second one, of the same batch, for each doublet.
A doublet holds the molecules of both, each captured with probability `capture`: a droplet's reagents
are shared, so that its library is larger than a single cell's but not twice as large. The two meet at
random, hence also two of one type (homotypic), which no mixture of types can show. The `cell_type` of
a doublet is that of the cell that gives more molecules; `second_type` is the other's.
"""

from __future__ import annotations

import numpy as np
from anndata import AnnData

from dgnbench.contract import DgnbenchError
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

TYPE_SHARES = np.array([0.3, 0.22, 0.18, 0.14, 0.1, 0.06])
LINEAGES = np.array([0, 0, 0, 1, 1, 2])  # of the types: some pairs are hard to tell from one cell
BATCH_SHARES = np.array([0.55, 0.45])
BATCH_DEPTH = DEPTH * np.array([1.1, 0.9])  # counts a cell and gene
BATCH_SD = 0.2  # of the log of a gene's rate, between batches


def load(
    files: dict[str, str],
    *,
    n_cells: int,
    n_genes: int,
    doublet_rate: float,
    capture: float,
    seed: int,
) -> AnnData:
    """`n_cells` droplets x `n_genes`, a share `doublet_rate` of them with two cells."""
    if not (0 <= doublet_rate <= 1 and 0 < capture <= 1):
        raise DgnbenchError(
            "wanted doublet_rate and capture as shares, at most 1, "
            f"got doublet_rate={doublet_rate}, capture={capture}"
        )
    rng = np.random.default_rng(seed)
    n_doublets = round(doublet_rate * n_cells)
    first = np.sort(rng.choice(n_cells, n_doublets, replace=False))  # droplets with a second cell
    batches = rng.choice(len(BATCH_SHARES), n_cells, p=BATCH_SHARES)
    batches = np.concatenate([batches, batches[first]])  # of cells: the second ones follow
    types = rng.choice(len(TYPE_SHARES), len(batches), p=TYPE_SHARES)

    of_lineage = rng.normal(0, 1.2, (3, n_genes)) * (rng.random((3, n_genes)) < 0.15)
    of_type = rng.normal(0, 1.2, (6, n_genes)) * (rng.random((6, n_genes)) < 0.08)
    type_size = np.exp(rng.normal(0, TYPE_LIBRARY_SD, len(TYPE_SHARES)))
    state_loadings = rng.normal(0, 0.3, (2, n_genes)) * (rng.random((2, n_genes)) < 0.3)
    log_rate = baseline(rng, n_genes) + of_lineage[LINEAGES[types]] + of_type[types]
    log_rate += rng.normal(0, 1, (len(types), 2)) @ state_loadings
    shift = rng.normal(0, BATCH_SD, (len(BATCH_SHARES), n_genes))
    library = library_sizes(rng, n_genes * BATCH_DEPTH[batches] * type_size[types])
    mean = expected_counts(log_rate + shift[batches], library)
    without_batch = expected_counts(log_rate + shift[0], library)
    counts = negative_binomial(rng, mean, inverse_dispersions(rng, mean))

    second = n_cells + np.arange(n_doublets)
    second_type = np.full(n_cells, "none", dtype=object)
    dominant = np.where(library[first] >= library[second], first, second)
    other = np.where(library[first] >= library[second], second, first)
    second_type[first] = named("type", types[other])
    types[first] = types[dominant]
    for expected in (mean, without_batch):
        expected[first] = capture * (expected[first] + expected[second])
    counts[first] = rng.binomial(counts[first] + counts[second], capture)

    droplets = slice(n_cells)
    return annotated(
        counts[droplets],
        {
            "batch": named("batch", batches[droplets]),
            "cell_type": named("type", types[droplets]),
            "doublet": np.isin(np.arange(n_cells), first),
            "second_type": second_type,
        },
        {"mean": mean[droplets], "mean_without_batch": without_batch[droplets]},
    )
