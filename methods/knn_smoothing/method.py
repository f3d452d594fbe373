"""Iterative kNN smoothing (Wagner, Yan & Yanai 2018, version 2).

Each step doubles the neighbourhood: neighbours are sought on the PCA of the Freeman-Tukey transform
of the counts smoothed so far, and the raw counts of the cell and its neighbours are added up.
"""

import numpy as np

from dgnbench.embedding.neighbours import nearest
from dgnbench.transforms import library_size, principal_components


def _freeman_tukey(counts):
    size = library_size(counts)
    x = counts * (np.median(size) / size)[:, None]
    return np.sqrt(x) + np.sqrt(x + 1)


def denoising(counts, *, seed, k, n_components):
    raw = counts.X.toarray().astype(np.float64)
    k = min(k, len(raw) - 1)
    smoothed = raw
    for step in range(1, int(np.ceil(np.log2(k + 1))) + 1):
        neighbours = min(2**step - 1, k)
        x = _freeman_tukey(smoothed)
        x = principal_components(x, n_components, seed).transform(x)
        indices = nearest(x, neighbours + 1).indices
        smoothed = np.stack([raw[cells].sum(axis=0) for cells in indices])
    return smoothed * (library_size(raw) / library_size(smoothed))[:, None]
