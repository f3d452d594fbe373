"""Silhouettes: how much nearer cells are to their own group than to others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dgnbench.contract import Estimate

EXACT_UP_TO = 50_000  # cells; of more, silhouettes of a sample of cells
SAMPLE = 10_000  # cells


@dataclass(frozen=True)
class Silhouettes:
    """Silhouettes of `cells` (n,), numbers of cells, in `values` (n,), each between -1 and 1."""

    cells: Any
    values: Any


def by_label(
    x: Any, labels: Any, exact_up_to: int = EXACT_UP_TO, sample: int = SAMPLE
) -> Silhouettes:
    """Silhouettes of the cells of `x` (cells, dimensions) among their labels (cells,), integers from 0.

    Euclidean; a cell alone with its label has 0, as in scikit-learn. O(cells² x dimensions) time with every
    pair once, cells x labels memory. Of more than `exact_up_to` cells a seeded sample is scored, each
    against all cells: at least ten of every label, or all where there are fewer.
    """
    from dgnbench.embedding import compiled

    order = np.argsort(labels, kind="stable")
    x = np.ascontiguousarray(np.asarray(x, dtype=np.float32)[order])
    ends = np.cumsum(np.bincount(labels))
    sizes = np.diff(ends, prepend=0)
    own = labels[order]
    if len(x) <= exact_up_to:
        rows = np.arange(len(x))
        sums = compiled.pairs_by_label(x, np.ascontiguousarray(x.T), own, ends)
    else:
        rows = _drawn(own, sizes, sample)
        sums = compiled.some_by_label(x[rows], np.ascontiguousarray(x.T), ends)
    every, own = np.arange(len(rows)), own[rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        within = sums[every, own] / (sizes[own] - 1)
        sums /= sizes
        sums[every, own] = np.inf
        between = sums.min(axis=1)
        values = np.nan_to_num((between - within) / np.maximum(between, within))
    return Silhouettes(order[rows], values)


def _drawn(labels: Any, sizes: Any, n: int) -> Any:
    """Cells by label, in proportion to its size and at least ten; seeded."""
    rng = np.random.default_rng(0)
    wanted = np.minimum(sizes, np.maximum(10, np.ceil(n * sizes / sizes.sum()).astype(int)))
    starts = np.cumsum(sizes) - sizes
    drawn = [
        s + rng.choice(size, w, replace=False)
        for s, size, w in zip(starts, sizes, wanted, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def label_score(found: Silhouettes, labels: Any) -> float:
    """Mean silhouette scaled to 0 … 1, an `Estimate` where cells were sampled.

    A sample's strata are weighted by their size.
    """
    shares = np.bincount(labels) / len(labels)
    own = labels[found.cells]
    n = np.bincount(own, minlength=len(shares))
    present = n > 0
    scaled = (found.values + 1) / 2
    means = np.bincount(own, scaled, len(shares))[present] / n[present]
    squares = np.bincount(own, scaled**2, len(shares))[present] / n[present]
    sizes = np.bincount(labels)[present]
    spread = np.maximum(squares - means**2, 0) * (1 - n[present] / sizes)
    error = np.sqrt((shares[present] ** 2 * spread / np.maximum(n[present] - 1, 1)).sum())
    score = float(shares[present] @ means)
    return (
        Estimate(score, float(error), int(n.sum()), len(labels)) if n.sum() < len(labels) else score
    )


def isolated_score(found: Silhouettes, labels: Any, batch: Any) -> float:
    """Mean over the labels that occur in the fewest batches of their mean silhouette, scaled to 0 … 1."""
    pairs = np.unique(np.stack([labels, batch]), axis=1)
    n_batches = np.bincount(pairs[0])
    isolated = np.flatnonzero(n_batches == n_batches[n_batches > 0].min())
    own, scaled = labels[found.cells], (found.values + 1) / 2
    return float(np.mean([scaled[own == label].mean() for label in isolated]))


def bras(x: Any, labels: Any, batch: Any) -> float:
    """Batch-removal-adapted silhouette (10.1038/s41587-025-02743-4), 0 to 1.

    1 - |silhouette| of the batches within every label, a mean over its cells and then over labels; cosine
    distances, and the mean distance to all cells of other batches in place of the nearest batch. Sums of
    cosine distances are products with sums of directions: O(cells x dimensions) time. A cell at the
    origin has no direction and is at distance 1 to all.

    Parameters
    ----------
    x
        (cells, dimensions).
    labels, batch
        (cells,), integers from 0.
    """
    x = np.asarray(x, dtype=np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    direction = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    scores = []
    for label in np.unique(labels):
        here = labels == label
        among, own = direction[here], np.unique(batch[here], return_inverse=True)[1]
        sizes = np.bincount(own)
        if len(sizes) == 1 or len(sizes) == len(own):
            continue
        sums = np.zeros((len(sizes), x.shape[1]))
        np.add.at(sums, own, among)
        n_own = sizes[own]
        to_own = n_own - np.einsum("ij,ij->i", among, sums[own])
        to_own -= 1 - np.einsum("ij,ij->i", among, among)  # a cell to itself
        to_all = len(own) - among @ sums.sum(axis=0) - (1 - np.einsum("ij,ij->i", among, among))
        with np.errstate(invalid="ignore", divide="ignore"):
            within, between = to_own / (n_own - 1), (to_all - to_own) / (len(own) - n_own)
            found = np.nan_to_num((between - within) / np.maximum(between, within))
        found[n_own == 1] = 0
        scores.append(np.mean(1 - np.abs(found)))
    if not scores:
        raise ValueError("no label with two batches, one of them of two cells or more")
    return float(np.mean(scores))
