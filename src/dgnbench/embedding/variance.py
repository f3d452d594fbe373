"""How much of an embedding's variance a batch explains."""

from __future__ import annotations

from typing import Any

import numpy as np


def explained(x: Any, batch: Any) -> float:
    """Share of the variance of `x` (cells, dimensions) that lies between batches (cells,), 0 to 1.

    It is the principal component regression of scIB (10.1038/s41592-021-01336-8) on all components:
    components weighted by their variance add up to this, whatever the components are.
    """
    x = np.asarray(x, dtype=np.float64)
    centred = x - x.mean(axis=0)
    sizes = np.bincount(batch)
    sums = np.zeros((len(sizes), x.shape[1]))
    np.add.at(sums, batch, centred)
    between = (sums**2).sum(axis=1)[sizes > 0] / sizes[sizes > 0]
    return float(between.sum() / (centred**2).sum())


def pcr_comparison(before: Any, after: Any, batch: Any) -> float:
    """1 - `explained` after over before integration; a negative value counts as 0, as in scib-metrics."""
    was = explained(before, batch)
    return max(0.0, (was - explained(after, batch)) / was)
