"""What every task's split needs: rows in a new order under new names, and nothing undeclared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from dgnbench.transforms import on_scale, scale_of

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from dgnbench.contract import Problem, Solution

TEST_FRACTION = 0.2  # of the cells, where there is one batch only
MOST_PEAKS = 10_000  # to predict, as in the NeurIPS 2021 challenge


def batches(data: AnnData) -> Any:
    """The batch of every cell under neutral names (``b0``, ``b1``, …), or None without batches.

    The names are renumbered because a donor's or lab's name can give away what is hidden.
    """
    if "batch" not in data.obs:
        return None
    codes = pd.Categorical(data.obs["batch"]).remove_unused_categories().codes
    return pd.Series([f"b{code}" for code in codes], index=data.obs_names, dtype="category")


def generator(counts: sparse.csr_matrix, seed: int) -> np.random.Generator:
    """The random numbers of a split, from the seed and the dataset's counts.

    A method is given the same seed. If that alone made the numbers, it could draw them again and undo
    the new order of the cells; who lacks the counts in their first order cannot.
    """
    digest = hashlib.sha256()
    for array in (counts.indptr, counts.indices, counts.data):
        digest.update(np.ascontiguousarray(array).data)
    return np.random.default_rng([seed, int.from_bytes(digest.digest()[:8], "little")])


def part(
    matrix: Any,
    name: str,
    genes: Sequence[str] | pd.Index[str] | None = None,
    *,
    n: int | None = None,
    **columns: Any,
) -> AnnData:
    """A part of a problem or solution: a matrix, neutral cell ids, and only the columns named.

    Parameters
    ----------
    matrix
        Cells x features; CSR stays CSR. None for a part of `n` cells without features.
    name
        The prefix of the cell ids: ``train`` gives ``train_0``, ``train_1``, …
    genes
        Feature names.
    n
        Number of cells, where `matrix` is None.
    **columns
        Columns of `obs`, in the order of the rows; None values are left out.
    """
    from anndata import AnnData

    given = {key: column for key, column in columns.items() if column is not None}
    rows = int(n or 0) if matrix is None else int(matrix.shape[0])
    ids = pd.Index([f"{name}_{i}" for i in range(rows)], dtype=str)
    obs = pd.DataFrame(
        {key: pd.Categorical(np.asarray(column)) for key, column in given.items()}, index=ids
    )
    if matrix is None:
        return AnnData(obs=obs)
    if sparse.issparse(matrix):
        matrix = sparse.csr_matrix(matrix, dtype=np.float32)
        matrix.sort_indices()
    else:
        matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    var = pd.DataFrame(index=pd.Index(genes if genes is not None else [], dtype=str))
    return AnnData(matrix, obs=obs, var=var)


def rows_of(column: Any, rows: Any) -> Any:
    """``column[rows]`` as an array, or None where there is no such column."""
    return None if column is None else np.asarray(column)[rows]


def seen_genes(counts: Any) -> Any:
    """The indices of the genes with a count in these (training) cells: no method can learn others."""
    return np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() > 0)


def test_cells(batch: Any, order: Any, seed: int) -> Any:
    """Which cells of `order` are test cells of a task that splits by batch, a boolean mask.

    The cells of one batch, which the seed chooses, so that it is unseen as in use; where there are no
    two batches, the first `TEST_FRACTION` of the order.
    """
    levels = [] if batch is None else sorted(batch.unique())
    if len(levels) > 1:
        return np.asarray(batch)[order] == levels[seed % len(levels)]
    return np.arange(len(order)) < round(TEST_FRACTION * len(order))


def column(data: AnnData, name: str) -> Any:
    """An `obs` column, or None where the dataset has none."""
    return np.asarray(data.obs[name]) if name in data.obs else None


def varied_peaks(counts: Any, most: int = MOST_PEAKS) -> Any:
    """The indices, ascending, of the `most` peaks whose being open varies most over these cells.

    A peak that is open in a share p of the cells varies by p (1 - p): nothing can be told apart by
    one that is open in none or in all. Of equal ones the first are taken.
    """
    share = np.asarray((counts > 0).mean(axis=0)).ravel()
    return np.sort(np.argsort(-share * (1 - share), kind="stable")[:most])


def split_for_prediction(
    data: MuData, *, seed: int, target: Literal["rna", "second"]
) -> tuple[Problem, Solution]:
    """The split of the tasks that predict one modality of unseen cells from the other.

    Train and test cells by batch (the seed chooses the test batch), else 80/20 at random. Both sides
    keep the features with a count in training cells; of a chromatin target only the 10,000 peaks that
    vary most over training cells (`varied_peaks`). Sources are raw counts. Targets are on the scale of
    their modality (`dgnbench.transforms.scale_of`, named in ``uns["scale"]``), which uses nothing but
    the cell itself, so that nothing of the test batch leaks into it; their raw counts lie in
    ``layers["counts"]``.

    Parameters
    ----------
    data
        ``rna`` and one more modality of the same cells.
    seed
        Chooses the test batch, or the test cells.
    target
        Which is predicted: `rna` from the second modality, or the `second` from RNA.

    Returns
    -------
    Problem with ``train_source``, ``train_target`` and ``test_source``, solution with ``truth``, in
    whose `var` lies the mean of the training cells.
    """
    second = next(name for name in data.mod if name != "rna")
    names = (second, "rna") if target == "rna" else ("rna", second)
    source, wanted = (data[name] for name in names)
    # From the source's counts: else the test cells of both directions would be in the same order, and
    # the problem of one hold the solution of the other.
    rng = generator(source.X, seed)
    order = rng.permutation(source.n_obs)
    batch = batches(data["rna"])
    in_test = test_cells(batch, order, seed)
    train, test = order[~in_test], order[in_test]
    scale = scale_of(names[1])
    seen = seen_genes(source.X[train])
    kept = seen_genes(wanted.X[train])
    if scale == "binary":
        kept = kept[varied_peaks(wanted.X[train][:, kept])]

    def given(rows: Any, prefix: str) -> AnnData:
        names_seen = source.var_names[seen]
        made = part(source.X[rows][:, seen], prefix, names_seen, batch=rows_of(batch, rows))
        made.uns["modality"] = names[0]
        return made

    def sought(rows: Any, prefix: str, **columns: Any) -> AnnData:
        counts = wanted.X[rows][:, kept]
        columns["batch"] = rows_of(batch, rows)
        made = part(on_scale(counts, scale), prefix, wanted.var_names[kept], **columns)
        made.layers["counts"] = counts
        made.uns |= {"scale": scale, "modality": names[1]}
        return made

    train_target = sought(train, "train")
    truth = sought(test, "test", cell_type=rows_of(column(data["rna"], "cell_type"), test))
    truth.var["train_mean"] = train_target.X.mean(axis=0, dtype=np.float64)
    return (
        {
            "train_source": given(train, "train"),
            "train_target": train_target,
            "test_source": given(test, "test"),
        },
        {"truth": truth},
    )
