"""Denoising by molecular cross-validation.

Batson, Royer & Webber 2019, 10.1101/786269: every molecule goes to the training counts with
probability 0.9, else to the held-out counts; a denoised training matrix must predict the held-out
one. Both are Poisson around the same rates, so the held-out counts are a fair judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dgnbench.contract import Problem, Slot, Solution, Task

if TYPE_CHECKING:
    from anndata import AnnData

TRAIN_FRACTION = 0.9  # of molecules, as in Open Problems' denoising task


def split(data: AnnData, *, seed: int) -> tuple[Problem, Solution]:
    """Binomial 0.9/0.1 of each count; cells and genes without a training molecule are left out."""
    import numpy as np
    from scipy import sparse

    from dgnbench.splitting import batches, column, generator, part, rows_of

    rng = generator(data.X, seed)
    order = rng.permutation(data.n_obs)
    counts = sparse.csr_matrix(data.X[order])
    train, held_out = counts.copy(), counts.copy()
    train.data = rng.binomial(counts.data.astype(np.int64), TRAIN_FRACTION).astype(np.float32)
    held_out.data = counts.data - train.data
    train.eliminate_zeros()
    held_out.eliminate_zeros()

    cells = np.flatnonzero(np.asarray(train.sum(axis=1)).ravel() > 0)
    genes = np.flatnonzero(np.asarray(train[cells].sum(axis=0)).ravel() > 0)
    train, held_out = train[cells][:, genes], held_out[cells][:, genes]
    kept, names = order[cells], data.var_names[genes]
    batch = rows_of(batches(data), kept)

    truth = part(
        held_out, "cell", names, batch=batch, cell_type=rows_of(column(data, "cell_type"), kept)
    )
    truth.uns["train_sum"] = float(train.sum())
    truth.uns["test_sum"] = float(held_out.sum())
    # Of the mean predictor, against which the skill is measured.
    truth.obs["train_size"] = np.asarray(train.sum(axis=1, dtype=np.float64)).ravel()
    truth.var["train_mean"] = np.asarray(train.mean(axis=0, dtype=np.float64)).ravel()
    if "mean" in data.layers:
        mean = np.asarray(data.layers["mean"])[np.ix_(kept, genes)]
        truth.layers["mean"] = (TRAIN_FRACTION * mean).astype(np.float32)
    return {"counts": part(train, "cell", names, batch=batch)}, {"truth": truth}


TASK = Task(
    id="denoising",
    label="Denoising",
    summary="From 90 % of the molecules of every cell, tell the expected counts; the other 10 % judge.",
    needs=("rna", "integer_counts"),
    parts=("counts",),
    output=Slot("prediction", rows="counts.obs", columns="counts.var", nonnegative=True),
    primary="poisson_skill",
    split=split,
    example="pbmc68k_reduced",
    hint="counts.X: cells x genes, raw counts (CSR). Return expected counts, same shape and scale.",
)
