"""Modality matching: which profile of the second modality belongs to which cell's RNA.

Task of the NeurIPS 2021 challenge (Lance et al., PMLR 176:162, 2022), direction RNA -> second
modality. Training cells are given in pairs; the test cells of the two sides are shuffled apart. Cells
are split as for cross-modal prediction, by batch where there are two or more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


def split(data: MuData, *, seed: int) -> tuple[Problem, Solution]:
    """Train and test cells by batch, else 80/20; the test cells of each side in an order of its own.

    ``truth`` has a row for every test source cell: `match` is the row of its partner in test_target.
    ``partner_truth`` has the cell types of the rows of test_target.
    """
    import numpy as np

    from dgnbench.splitting import batches, column, generator, part, rows_of, seen_genes, test_cells

    rna = data["rna"]
    name = next(modality for modality in data.mod if modality != "rna")
    second = data[name]
    rng = generator(rna.X, seed)
    order = rng.permutation(rna.n_obs)
    batch = batches(rna)
    in_test = test_cells(batch, order, seed)
    train, test = order[~in_test], order[in_test]
    partners = rng.permutation(test)
    genes, features = seen_genes(rna.X[train]), seen_genes(second.X[train])

    def source(rows: Any, prefix: str) -> AnnData:
        names = rna.var_names[genes]
        made = part(rna.X[rows][:, genes], prefix, names, batch=rows_of(batch, rows))
        made.uns["modality"] = "rna"
        return made

    def target(rows: Any, prefix: str) -> AnnData:
        names = second.var_names[features]
        made = part(second.X[rows][:, features], prefix, names, batch=rows_of(batch, rows))
        made.uns["modality"] = name
        return made

    cell_type = column(rna, "cell_type")
    truth = part(None, "source", n=len(test), cell_type=rows_of(cell_type, test))
    place = np.empty(rna.n_obs, dtype=np.int64)
    place[partners] = np.arange(len(partners))
    truth.obs["match"] = place[test]
    return (
        {
            "train_source": source(train, "train"),
            "train_target": target(train, "train"),
            "test_source": source(test, "source"),
            "test_target": target(partners, "target"),
        },
        {
            "truth": truth,
            "partner_truth": part(
                None, "target", n=len(test), cell_type=rows_of(cell_type, partners)
            ),
        },
    )


TASK = Task(
    id="modality_matching",
    label="Modality matching",
    summary="Find, among the profiles of the second modality of unseen cells, the one of each cell's RNA.",
    needs=("rna", "second_modality"),
    parts=("train_source", "train_target", "test_source", "test_target"),
    output=Slot(
        "matching",
        rows="test_source.obs",
        columns="test_target.obs",
        nonnegative=True,
        row_sum=1,
        max_nonzeros=1000,
    ),
    primary="match_probability",
    split=split,
    example="simulated_cite@n_cells=600@n_genes=300",
    hint="X: raw counts; training cells are pairs. Return a sparse matrix, test source x test target "
    "cells, whose rows sum to 1, with at most 1000 values a row.",
)
