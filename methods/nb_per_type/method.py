"""Independent negative binomials within each cell type: what labels alone can do.

Counts of gene g in a cell of library l are NB with mean l * p_g and inverse dispersion theta_g, both by
moments within the type; the libraries are drawn from the type's own cells.
"""

import numpy as np

from dgnbench.transforms import inverse_dispersion, library_size


def fit_type(counts):
    """Proportions and inverse dispersions (genes,) of one type's cells, and their libraries."""
    size = library_size(counts)
    share = counts.sum(axis=0) / size.sum()
    return share, inverse_dispersion(counts, size[:, None] * share), size


def generation(train, request, *, seed, labels):
    rng = np.random.default_rng(seed)
    types = labels.obs["cell_type"].to_numpy()
    counts = train.X.toarray().astype(np.float64)
    drawn = rng.choice(types, size=request.n_obs)
    made = np.empty((request.n_obs, train.n_vars))
    for level in np.unique(drawn):
        share, theta, sizes = fit_type(counts[types == level])
        rows = np.flatnonzero(drawn == level)
        mean = rng.choice(sizes, size=len(rows))[:, None] * share
        made[rows] = rng.poisson(rng.gamma(theta, mean / theta))
    return made
