"""Floor: values as in the real data, but none where it belongs."""

import numpy as np
from scipy import sparse

from dgnbench.transforms import log1p_cp10k, principal_components


def integration(counts, *, seed):
    x = log1p_cp10k(counts.X)
    scores = principal_components(x, 50, seed).transform(x)
    return np.random.default_rng(seed).permutation(scores)


def joint_embedding(source, target, *, seed):
    return integration(source, seed=seed)


mosaic_embedding = joint_embedding


def modality_matching(train_source, train_target, test_source, test_target, *, seed):
    """One partner for every cell, at random."""
    n = test_source.n_obs
    partner = np.random.default_rng(seed).permutation(n)
    return sparse.csr_matrix((np.ones(n), (np.arange(n), partner)), shape=(n, n))


def modality_prediction(train_source, train_target, test_source, *, seed):
    rows = np.random.default_rng(seed).integers(train_target.n_obs, size=test_source.n_obs)
    return train_target.X[rows]


rna_prediction = modality_prediction


def generation(train, request, *, seed):
    """Every gene drawn on its own: marginals are kept, all correlation is lost."""
    rng = np.random.default_rng(seed)
    counts = train.X.toarray()
    return np.column_stack(
        [rng.choice(counts[:, gene], size=request.n_obs) for gene in range(train.n_vars)]
    )
