"""Where the scores' variance comes from: dataset, method, split, initialisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dgnbench.contract import CONTROLS
from dgnbench.stats.cube import Floats
from dgnbench.stats.scaling import applicable

Codes = npt.NDArray[np.int64]
RANK = 1e-9  # singular values below this, relative to the largest, are rounding


def henderson(values: Floats, factors: Mapping[str, Codes]) -> dict[str, float]:
    """Variance components of random factors by Henderson's third method, fitting constants.

    Parameters
    ----------
    values
        Shape (rows,).
    factors
        The group of every row, 0 … groups − 1, by factor, in the order in which they are fitted.
        The residual is what is left.

    Returns
    -------
    The component of each factor, then ``residual``; unbiased, so that one near 0 may be negative.
    For balanced data these are the estimates of the classical analysis of variance.

    Raises
    ------
    ValueError
        Factors that these rows cannot tell apart.

    Notes
    -----
    Henderson 1953 (10.2307/3001853): the squared length of the projection of the values on the
    first k factors is set equal to its expectation, N μ² + Σ_j σ_j² ‖Q_kᵀ Z_j‖².
    """
    from scipy import sparse

    n = len(values)
    rows = np.arange(n)
    all_codes = [np.zeros(n, dtype=np.int64), *factors.values(), rows]
    dummies = [sparse.csr_matrix((np.ones(n), (rows, codes))) for codes in all_codes]
    squares = np.empty(len(all_codes))
    expected = np.empty((len(all_codes), len(all_codes)))
    base = all_codes[0]  # groups whose means span the space so far, with `beside`
    beside = np.zeros((n, 0))
    for k, codes in enumerate(all_codes):
        if _refines(codes, base, beside):
            base, beside = codes, np.zeros((n, 0))
        else:
            beside = _span(np.hstack([beside, dummies[k].toarray()]), base)
        sizes = np.bincount(base)
        means = sparse.csr_matrix((1 / np.sqrt(sizes[base]), (base, rows)))
        squares[k] = float(((means @ values) ** 2).sum() + ((beside.T @ values) ** 2).sum())
        expected[k, 0] = n  # N μ²
        for j, other in enumerate(dummies[1:], start=1):
            cells = (means @ other).data
            expected[k, j] = float((cells**2).sum() + ((other.T @ beside) ** 2).sum())
    if np.linalg.matrix_rank(expected) < len(all_codes):
        raise ValueError(f"these rows cannot tell apart {', '.join(factors)} and the residual")
    solved = np.linalg.solve(expected, squares)
    return dict(zip([*factors, "residual"], (float(x) for x in solved[1:]), strict=True))


def _refines(codes: Codes, base: Codes, beside: Floats) -> bool:
    """Whether the groups' means span all that was fitted before."""
    within = len(np.unique(codes * (int(base.max()) + 1) + base)) == len(np.unique(codes))
    return within and np.allclose(beside, _group_means(beside, codes))


def _group_means(columns: Floats, codes: Codes) -> Floats:
    from scipy import sparse

    rows = np.arange(len(codes))
    sums = sparse.csr_matrix((np.ones(len(codes)), (codes, rows))) @ columns
    means: Floats = (sums / np.bincount(codes)[:, None])[codes]
    return means


def _span(columns: Floats, base: Codes) -> Floats:
    """An orthonormal basis of the columns less their means over the groups of `base`."""
    left, size, _ = np.linalg.svd(columns - _group_means(columns, base), full_matrices=False)
    basis: Floats = left[:, size > RANK * max(float(size[0]), 1.0)]
    return basis


def variance_split(scores: pd.DataFrame) -> pd.DataFrame:
    """Components of the variance of every task's scaled primary scores.

    Parameters
    ----------
    scores
        Rows as in ``scores.csv``, with `scaled`. A replicate seeds both the split and the method.
        Extra runs on one split with other initialisations are told apart by an optional column
        ``initialisation``. Controls and missing scores are left out.

    Returns
    -------
    A row a task and component: task, component, variance (estimate; a negative one means none),
    share (of the sum, negative ones counted 0), n (scores), note (what cannot be told apart here).
    Components: ``dataset``, ``method``, ``method × dataset``, ``split`` (what all methods share in
    a replicate of a dataset), then either ``initialisation and method × split`` together, or, where
    extra runs exist, ``method × split`` and ``initialisation``.
    """
    rows = applicable(scores)
    rows = rows[~rows["role"].isin(CONTROLS) & rows["scaled"].notna()]
    rows = rows[rows["primary"].astype(bool)]
    made = []
    for task, own in rows.groupby("task"):
        table = _components(own)
        table.insert(0, "task", task)
        made.append(table)
    columns = ["task", "component", "variance", "share", "n", "note"]
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame(columns=columns)


def _codes(rows: pd.DataFrame, by: Sequence[str]) -> Codes:
    return np.asarray(rows.groupby(list(by)).ngroup(), dtype=np.int64)


def _components(rows: pd.DataFrame) -> pd.DataFrame:
    datasets, methods = rows["dataset"].nunique() > 1, rows["method"].nunique() > 1
    per_run = rows.groupby(["method", "dataset", "replicate"]).size()
    replicates = bool((per_run.groupby(level=["method", "dataset"]).size() > 1).any())
    extra = "initialisation" in rows and bool((per_run > 1).any())
    factors: dict[str, Codes] = {}
    notes = []
    if datasets:
        factors["dataset"] = _codes(rows, ["dataset"])
    else:
        notes.append("one dataset: what depends on the dataset is not seen")
    if methods:
        factors["method"] = _codes(rows, ["method"])
    else:
        notes.append("one method: splits cannot be told from initialisations")
    if datasets and methods and (replicates or extra):
        factors["method × dataset"] = _codes(rows, ["method", "dataset"])
    if methods and replicates:
        factors["split"] = _codes(rows, ["dataset", "replicate"])
    if replicates and extra:
        name = "method × split" if methods else "split"
        factors[name] = _codes(rows, ["method", "dataset", "replicate"])
    rest = "initialisation" if extra else "initialisation and method × split"
    if not replicates and not extra:
        rest = "method × dataset, split and initialisation"
        notes.append("one replicate: what differs between replicates is not seen")
    elif not extra:
        notes.append(
            "a replicate seeds split and method: initialisation cannot be told from what a split "
            "does to one method alone"
        )
    values = rows["scaled"].to_numpy(dtype=float)
    try:
        found = henderson(values, factors)
    except ValueError as error:
        found = dict.fromkeys([*factors, "residual"], float("nan"))
        notes.append(str(error))
    found[rest] = found.pop("residual")
    variance = np.array(list(found.values()))
    kept = np.maximum(variance, 0.0)
    total = kept.sum()
    return pd.DataFrame(
        {
            "component": list(found),
            "variance": variance,
            "share": kept / total if total > 0 else np.full(len(kept), np.nan),
            "n": len(rows),
            "note": "; ".join(notes),
        }
    )
