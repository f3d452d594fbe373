"""Cross-modal prediction: the second modality of unseen cells from their RNA.

Task of the NeurIPS 2021 challenge (Lance et al., PMLR 176:162, 2022), direction RNA -> second
modality. Split by batch where there are two or more: the test batch is unseen, as it is in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


def split(data: MuData, *, seed: int) -> tuple[Problem, Solution]:
    """Train and test cells by batch (the seed chooses the test batch), else 80/20 at random."""
    import numpy as np

    from dgnbench.splitting import batches, column, generator, part, rows_of, seen_genes, test_cells
    from dgnbench.transforms import on_scale, scale_of

    rna = data["rna"]
    name = next(modality for modality in data.mod if modality != "rna")
    second = data[name]
    rng = generator(rna.X, seed)
    order = rng.permutation(rna.n_obs)
    batch = batches(rna)
    in_test = test_cells(batch, order, seed)
    train, test = order[~in_test], order[in_test]

    # Proteins are compositional within a cell and have no empty droplets here: CLR per cell uses
    # nothing but the cell itself, so nothing of the test batch leaks into the scale.
    scale = scale_of(name)

    def target(rows: np.ndarray, prefix: str, **columns: Any) -> AnnData:
        counts = second.X[rows]
        made = part(on_scale(counts, scale), prefix, second.var_names, **columns)
        made.layers["counts"] = counts
        made.uns |= {"scale": scale, "modality": name}
        return made

    genes = seen_genes(rna.X[train])

    def source(rows: np.ndarray, prefix: str) -> AnnData:
        counts = rna.X[rows][:, genes]
        made = part(counts, prefix, rna.var_names[genes], batch=rows_of(batch, rows))
        made.uns["modality"] = "rna"
        return made

    train_target = target(train, "train", batch=rows_of(batch, train))
    truth = target(
        test,
        "test",
        batch=rows_of(batch, test),
        cell_type=rows_of(column(rna, "cell_type"), test),
    )
    truth.var["train_mean"] = train_target.X.mean(axis=0, dtype=np.float64)
    return (
        {
            "train_source": source(train, "train"),
            "train_target": train_target,
            "test_source": source(test, "test"),
        },
        {"truth": truth},
    )


TASK = Task(
    id="modality_prediction",
    label="Cross-modal prediction",
    summary="Predict the second modality of the cells of an unseen batch from their RNA.",
    needs=("rna", "second_modality"),
    parts=("train_source", "train_target", "test_source"),
    output=Slot("prediction", rows="test_source.obs", columns="train_target.var"),
    primary="rmse_skill",
    split=split,
    example="simulated_cite@n_cells=600@n_genes=300",
    hint="Sources: raw RNA counts; train_target.X: normalised. Return test cells x target features.",
)
