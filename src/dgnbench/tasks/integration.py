"""Integration: one embedding in which batches mix and cell types stay apart.

Definition: Luecken et al. 2022, 10.1038/s41592-021-01336-8. Cell types are hidden; label-using
methods get them as the restricted part `labels` and are ranked apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from anndata import AnnData


def split(data: AnnData, *, seed: int) -> tuple[Problem, Solution]:
    """All cells in a new order; counts and batch to the method, cell types to the metrics."""
    from dgnbench.splitting import batches, column, generator, part, rows_of

    order = generator(data.X, seed).permutation(data.n_obs)
    counts = data.X[order]
    batch = rows_of(batches(data), order)
    cell_type = rows_of(column(data, "cell_type"), order)
    return (
        {
            "counts": part(counts, "cell", data.var_names, batch=batch),
            "labels": part(None, "cell", n=data.n_obs, cell_type=cell_type),
        },
        {"truth": part(counts, "cell", data.var_names, batch=batch, cell_type=cell_type)},
    )


TASK = Task(
    id="integration",
    label="Integration",
    summary="Embed the cells of several batches so that batches mix and cell types stay apart.",
    needs=("rna", "batch", "cell_type"),
    parts=("counts",),
    restricted=("labels",),
    output=Slot("embedding", rows="counts.obs"),
    primary="total",
    split=split,
    example="simulated_batches@n_cells=600@n_genes=300",
    hint='counts.X: cells x genes, raw counts (CSR); counts.obs["batch"]. Return cells x k, k <= 100.',
)
