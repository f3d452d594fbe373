"""How labels and batches mix among near cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2

from dgnbench.contract import Estimate
from dgnbench.embedding.graph import COMPONENTS, connectivities, diffusion
from dgnbench.embedding.neighbours import Neighbours, nearest, nearest_of

LEAST_CELLS = 10  # of a label, to be tested
TESTED = 10_000  # cells of a label at most; of more, a seeded sample


def lisi(graph: Neighbours, labels: Any, batch: Any) -> dict[str, float]:
    """Median inverse Simpson index around a cell of labels and of batches, both (cells,), scaled.

    `clisi` is 1 where all neighbours have the cell's label, `ilisi` 1 where all batches are there evenly
    (10.1038/s41592-019-0619-0, scaled as in scIB). The perplexity is a third of the neighbours.
    """
    from dgnbench.embedding import compiled

    n_labels, n_batches = labels.max() + 1, batch.max() + 1
    k = graph.indices.shape[1]
    found = compiled.lisi(
        graph.indices, np.asarray(graph.distances, dtype=np.float64), labels, n_labels, batch,
        n_batches, float(np.floor(k / 3)),
    )  # fmt: skip
    of_labels, of_batches = np.nanmedian(found, axis=0)
    return {
        "clisi": float((n_labels - of_labels) / (n_labels - 1)),
        "ilisi": float((of_batches - 1) / (n_batches - 1)),
    }


def kbet(graph: Neighbours, batch: Any, labels: Any, alpha: float = 0.05) -> float:
    """Mean over labels of the share of cells around which batches are as in the whole label.

    kBET (10.1038/s41592-018-0254-1) by label as in scIB: within each, neighbours by diffusion distance are
    tested by chi-squared at `alpha`. Labels of one batch or less than ten cells are left out; one whose
    graph falls into pieces is tested on those large enough, or has 0 if they hold less than three
    quarters of it. The number of diffusion components is the smallest that a label so far allowed:
    scib-metrics has it so, and scores compare only if it stays. Of a label of more than 10,000 cells that
    many are tested, and the score is an `Estimate`.

    Parameters
    ----------
    graph
        The nearest cells, 50 in scIB.
    batch, labels
        (cells,), integers from 0.
    """
    weights = connectivities(graph)
    n_components, scores = COMPONENTS, []
    used = cells = 0
    variance = 0.0
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        within = weights[here][:, here]
        own = np.unique(batch[here], return_inverse=True)[1]
        sizes = np.bincount(own)
        if len(here) < LEAST_CELLS or len(sizes) == 1:
            continue
        k = min(70, max(10, int(np.mean(sizes) // 4)))
        n_pieces, piece = connected_components(within, connection="strong")
        if n_pieces > 1:
            kept = np.flatnonzero(np.bincount(piece)[piece] >= 3 * k)
            if len(kept) / len(here) < 0.75:
                scores.append(0.0)
                continue
            within, own = within[kept][:, kept], own[kept]
        n_components = min(n_components, within.shape[0] - 1)
        x = diffusion(within, n_components)
        if len(x) > TESTED:
            rows = np.random.default_rng(0).choice(len(x), TESTED, replace=False)
            near = nearest_of(x, rows, k + 1).indices
        else:
            near = nearest(x, k + 1).indices
        found = _accepted(near, own, alpha)
        scores.append(found)
        used += len(near)
        if len(near) < len(x):
            variance += found * (1 - found) / len(near) * (1 - len(near) / len(x))
        cells += len(x)
    if not scores:
        raise ValueError("no label has two batches and ten cells")
    score = float(np.mean(scores))
    if used == cells:
        return score
    return Estimate(score, variance**0.5 / len(scores), used, cells)


def _accepted(near: Any, batch: Any, alpha: float) -> float:
    """Share of neighbourhoods `near` (n, k) whose batches, of `batch` (cells,), the test accepts."""
    n, k = near.shape
    batch = np.unique(batch, return_inverse=True)[1]
    n_batches = batch.max() + 1
    places = np.arange(n)[:, None] * n_batches + batch[near]
    counts = np.bincount(places.ravel(), minlength=n * n_batches).reshape(n, n_batches)
    expected = np.bincount(batch) / len(batch) * k
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
    return float((chi2.sf(statistic, n_batches - 1) >= alpha).mean())
