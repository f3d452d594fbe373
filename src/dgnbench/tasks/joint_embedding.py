"""Joint embedding: one space for both modalities of the same cells.

Task of the NeurIPS 2021 challenge (Lance et al., PMLR 176:162, 2022). Cell types are hidden; methods
that use labels get them for a random half of the cells as the restricted part `labels`, and every
method is scored on the other half, so that no label of a scored cell is ever seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from mudata import MuData


def split(data: MuData, *, seed: int) -> tuple[Problem, Solution]:
    """All cells in a new order; a random half has its label in `labels`, the other half is scored."""
    import numpy as np
    import pandas as pd

    from dgnbench.splitting import batches, column, generator, part, rows_of

    rna = data["rna"]
    name = next(modality for modality in data.mod if modality != "rna")
    rng = generator(rna.X, seed)
    order = rng.permutation(rna.n_obs)
    scored = np.zeros(rna.n_obs, dtype=bool)
    scored[rng.permutation(rna.n_obs)[: (rna.n_obs + 1) // 2]] = True
    batch = rows_of(batches(rna), order)
    cell_type = rows_of(column(rna, "cell_type"), order)
    problem = {}
    for side, modality in (("source", "rna"), ("target", name)):
        of = data[modality]
        problem[side] = part(of.X[order], "cell", of.var_names, batch=batch)
        problem[side].uns["modality"] = modality
    problem["labels"] = part(None, "cell", n=rna.n_obs)
    given = pd.Series(cell_type, dtype=object).mask(scored)
    problem["labels"].obs["cell_type"] = pd.Categorical(given)
    # The RNA serves the conservation of the cell cycle.
    truth = part(rna.X[order], "cell", rna.var_names, batch=batch, cell_type=cell_type)
    truth.obs["scored"] = scored
    pseudotime = rows_of(column(rna, "pseudotime"), order)
    if pseudotime is not None:
        truth.obs["pseudotime"] = pseudotime.astype(np.float64)
    return problem, {"truth": truth}


TASK = Task(
    id="joint_embedding",
    label="Joint embedding",
    summary="Embed cells from both modalities so that cell types stay apart and batches mix.",
    needs=("rna", "second_modality", "cell_type"),
    parts=("source", "target"),
    restricted=("labels",),
    output=Slot("embedding", rows="source.obs"),
    primary="arithmetic_mean",
    split=split,
    example="simulated_cite@n_cells=600@n_genes=300",
    hint='source, target: raw counts of the same cells; obs["batch"]. Return cells x k, k <= 100.',
)
