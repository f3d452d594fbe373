"""Generation: new cells that could be real ones.

Half of the cells train; of the other half one part is held out for the metrics and one part of the
same size is what the ceiling returns, so that real against real shows how well anything could do
(the control of GRouNdGAN's Table 1, 10.1038/s41467-024-48516-6). Strata are cell types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from anndata import AnnData


def split(data: AnnData, *, seed: int) -> tuple[Problem, Solution]:
    """1/2 train, 1/4 held out, 1/4 the other real cells, within every cell type."""
    import numpy as np

    from dgnbench.splitting import batches, column, generator, part, rows_of, seen_genes

    rng = generator(data.X, seed)
    order = rng.permutation(data.n_obs)
    cell_type = column(data, "cell_type")
    # Cells in the order of their type, dealt out like cards: train, held out, train, other, …
    dealt = order[np.argsort(cell_type[order], kind="stable")]
    train = rng.permutation(dealt[0::2])
    held_out, other = dealt[1::4], dealt[3::4]
    held_out, other = rng.permutation(held_out)[: len(other)], rng.permutation(other)

    batch = batches(data)
    genes = seen_genes(data.X[train])

    def cells(rows: np.ndarray, name: str, **columns: Any) -> AnnData:
        return part(data.X[rows][:, genes], name, data.var_names[genes], **columns)

    return (
        {
            "train": cells(train, "train", batch=rows_of(batch, train)),
            "request": part(None, "new", n=len(held_out)),
            "labels": part(None, "train", n=len(train), cell_type=cell_type[train]),
        },
        {
            "truth": cells(held_out, "real", cell_type=cell_type[held_out]),
            "other": cells(other, "other", cell_type=cell_type[other]),
            "train": cells(train, "train", cell_type=cell_type[train]),
        },
    )


TASK = Task(
    id="generation",
    label="Generation",
    summary="Make new cells, as counts, that cannot be told from held-out real ones.",
    needs=("rna", "cell_type", "integer_counts"),
    parts=("train", "request"),
    restricted=("labels",),
    output=Slot("counts", rows="request.obs", columns="train.var"),
    primary="energy_distance",
    split=split,
    example="pbmc68k_reduced",
    hint="train.X: raw counts. Return request.n_obs x train.n_vars new cells as integer counts.",
)
