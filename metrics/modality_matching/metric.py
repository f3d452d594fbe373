"""Modality matching: weights of the true partners, and their ranks.

The cells x cells matrix stays sparse: a row's cells without a stored weight are ties at zero, which
need counting only. O(stored values) time and memory for every metric, of label transfer also
O(cells x cell types).
"""

import numpy as np
from scipy import sparse

from dgnbench.contract import NotApplicable


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


def _ranks(weights, partners):
    """How many cells of a row weigh more than the true partner, and how many others the same."""
    own = _of_partners(weights, partners)
    rows = np.repeat(np.arange(len(own)), np.diff(weights.indptr))
    of_row = own[rows]
    n, m = weights.shape
    more = np.bincount(rows[weights.data > of_row], minlength=n)
    same = np.bincount(rows[weights.data == of_row], minlength=n)  # the partner is among them
    unstored = m - np.diff(weights.indptr)
    return more, np.where(own > 0, same - 1, unstored - 1)


def _source_ranks(solution, output, shared):
    return shared.per_run("ranks", lambda: _ranks(_weights(output, shared), _partners(solution)))


def _within(k, solution, output, shared):
    """Mean chance that the true partner is among the first k, ties in random order."""
    more, same = _source_ranks(solution, output, shared)
    return np.clip((k - more) / (same + 1), 0, 1).mean()


def top_1(solution, output, shared):
    return _within(1, solution, output, shared)


def top_5(solution, output, shared):
    return _within(5, solution, output, shared)


def foscttm(solution, output, shared):
    partners = _partners(solution)
    n = len(partners)
    if n < 2:
        raise NotApplicable("one test cell has no wrong partner")
    back = np.argsort(partners)  # the partner of every target cell
    to_source = sparse.csr_matrix(_weights(output, shared).T)
    ranks = _source_ranks(solution, output, shared), _ranks(to_source, back)
    return np.mean([(more + same / 2) / (n - 1) for more, same in ranks])


def label_transfer(solution, output, shared):
    truth, partners = solution["truth"].obs, solution["partner_truth"].obs
    if "cell_type" not in truth:
        raise NotApplicable("the dataset has no cell_type")
    types, of_partner = np.unique(np.asarray(partners["cell_type"], dtype=str), return_inverse=True)
    if len(types) < 2:
        raise NotApplicable("all test cells have the same cell_type")
    one_hot = sparse.csr_matrix(
        (np.ones(len(of_partner)), (np.arange(len(of_partner)), of_partner))
    )
    votes = (_weights(output, shared) @ one_hot).toarray()
    return np.mean(types[votes.argmax(axis=1)] == np.asarray(truth["cell_type"], dtype=str))
