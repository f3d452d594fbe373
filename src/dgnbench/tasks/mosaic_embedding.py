"""Mosaic embedding: one space for cells of which a part lacks the second modality.

Joint embedding where the second modality was not measured everywhere: the mosaics of totalVI (Gayoso et
al. 2021, 10.1038/s41592-020-01050-x), Cobolt (10.1186/s13059-021-02556-z) and MultiVI
(10.1038/s41592-023-01909-9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from mudata import MuData


def split(data: MuData, *, seed: int) -> tuple[Problem, Solution]:
    """As for joint embedding, but the cells of one batch, which the seed chooses, have no target.

    Where there are no two batches they are a random half, and in ``truth`` the batch of a cell is whether
    its target was given: metrics of mixing compare cells with one modality to cells with two.
    """
    import numpy as np
    import pandas as pd

    from dgnbench.splitting import test_cells
    from dgnbench.tasks import joint_embedding

    problem, solution = joint_embedding.split(data, seed=seed)
    obs = problem["source"].obs
    if "batch" in obs and obs["batch"].nunique() > 1:
        lacks = test_cells(obs["batch"], np.arange(len(obs)), seed)
    else:
        lacks = np.arange(len(obs)) < len(obs) // 2  # their order is random
        solution["truth"].obs["batch"] = pd.Categorical(np.where(lacks, "one", "both"))
    problem["target"] = problem["target"][~lacks].copy()
    return problem, solution


TASK = Task(
    id="mosaic_embedding",
    label="Mosaic embedding",
    summary="Embed cells of which a part lacks the second modality, so that types part and batches mix.",
    needs=("rna", "second_modality", "cell_type"),
    parts=("source", "target"),
    restricted=("labels",),
    output=Slot("embedding", rows="source.obs"),
    primary="arithmetic_mean",
    split=split,
    example="simulated_cite@n_cells=600@n_genes=300",
    hint="source: raw counts of all cells; target: of those with both modalities, under the same names "
    "in the same order. Return source cells x k, k <= 100.",
)
