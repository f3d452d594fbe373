"""Modality matching: weights of the true partners. Everything stays sparse, O(stored values)."""

import numpy as np
from scipy import sparse


def _partners(solution):
    return solution["truth"].obs["match"].to_numpy()


def _weights(output, shared):
    """Weights as CSR float64 without negative or stored zero values; rows sum to 1 or are empty."""

    def normalised():
        weights = sparse.csr_matrix(output, dtype=np.float64)
        weights.data = np.maximum(weights.data, 0)
        weights.eliminate_zeros()
        sums = np.asarray(weights.sum(axis=1)).ravel()
        scale = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
        return sparse.csr_matrix(sparse.diags(scale) @ weights)

    return shared.per_run("weights", normalised)


def _of_partners(weights, partners):
    """The weight of every cell's true partner, (cells,)."""
    n = len(partners)
    truth = sparse.csr_matrix((np.ones(n), (np.arange(n), partners)), shape=weights.shape)
    return np.asarray(weights.multiply(truth).sum(axis=1)).ravel()


def match_probability(solution, output, shared):
    return _of_partners(_weights(output, shared), _partners(solution)).mean()
