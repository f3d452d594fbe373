"""Floor: PCA in each batch on its own (the `no_integration_batch` control of Open Problems)."""

import numpy as np

from dgnbench.transforms import log1p_cp10k, principal_components


def integration(counts, *, seed, n_latent):
    embedding = np.zeros((counts.n_obs, n_latent))
    batch = counts.obs["batch"].to_numpy()
    for level in np.unique(batch):
        cells = np.flatnonzero(batch == level)
        x = log1p_cp10k(counts.X[cells])
        scores = principal_components(x, n_latent, seed).transform(x)
        embedding[cells, : scores.shape[1]] = scores
    return embedding
