"""Denoising: how well denoised training counts foretell the held-out molecules."""

import numpy as np
from scipy import sparse

from dgnbench import NotApplicable
from dgnbench.correlation import mean_pearson
from dgnbench.transforms import library_size, log1p_cp10k

EPSILON = 1e-6  # inside the logarithm, as in Open Problems' denoising task


def _dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def _log(output, shared):
    return shared.per_run("log", lambda: log1p_cp10k(output))


def _log_truth(solution, shared):
    return shared.per_solution("log", lambda: log1p_cp10k(solution["truth"].X))


def _mean_square(a, b):
    """Mean squared difference; O(cells * genes) time, a thousand rows dense at a time."""
    rows = (slice(i, i + 1000) for i in range(0, a.shape[0], 1000))
    total = sum(np.square(_dense(a[some]) - _dense(b[some])).sum() for some in rows)
    return total / np.prod(a.shape)


def _poisson_nll(predicted, held_out):
    """Mean of p − t·ln p over cells and genes; p on the scale of the held-out counts t, as triplets."""
    if sparse.issparse(predicted):
        at = np.asarray(sparse.csr_matrix(predicted)[held_out.row, held_out.col]).ravel()
    else:
        at = predicted[held_out.row, held_out.col]
    log_part = (held_out.data.astype(np.float64) * np.log(at + EPSILON)).sum()
    return (predicted.sum() - log_part) / np.prod(held_out.shape)


def _depth(truth):
    """What brings training counts to the scale of the held-out ones."""
    return truth.uns["test_sum"] / truth.uns["train_sum"]


def poisson_nll(solution, output, shared):
    """Open Problems calls its loss with prediction and truth swapped; this is the right order."""

    def compute():
        truth = solution["truth"]
        predicted = output.astype(np.float64) * _depth(truth)
        return _poisson_nll(predicted, sparse.coo_matrix(truth.X))

    return shared.per_run("nll", compute)


def _mean_predictor(truth):
    """Training gene means times training libraries, on the scale of the held-out counts.

    Where the split does not keep these sums, the sums of the held-out counts themselves stand in.
    They fit what they are to foretell: the real mean predictor then gets -0.01 on the embedded data,
    and less with fewer molecules.
    """
    if "train_size" in truth.obs and "train_mean" in truth.var:
        size = truth.obs["train_size"].to_numpy(dtype=np.float64)
        gene, depth = truth.var["train_mean"].to_numpy(dtype=np.float64), _depth(truth)
    else:
        size, gene, depth = library_size(truth.X), library_size(truth.X.T), 1.0
    return depth * np.outer(size, gene / gene.sum())


def poisson_skill(solution, output, shared):
    """1 − D / D(mean predictor), with D the Poisson deviance; below the mean D(mean) / D − 1.

    The deviance is twice the Poisson NLL above that of the held-out counts themselves. The turn at
    zero keeps the order and bounds the score: without it, zeros (−6 to −12 on the embedded data)
    would fill the scale, on which a good method lies at 0.2.
    """

    def of_truth():
        held_out = sparse.coo_matrix(solution["truth"].X)
        counts = held_out.data[held_out.data > 0].astype(np.float64)
        itself = (counts - counts * np.log(counts)).sum() / np.prod(held_out.shape)
        return itself, _poisson_nll(_mean_predictor(solution["truth"]), held_out) - itself

    itself, of_mean = shared.per_solution("deviances", of_truth)
    own = max(0.0, poisson_nll(solution, output, shared) - itself)
    return (of_mean - own) / max(of_mean, own)


def mse(solution, output, shared):
    return _mean_square(_log(output, shared), _log_truth(solution, shared))


def mse_to_mean(solution, output, shared):
    truth = solution["truth"]
    if "mean" not in truth.layers:
        raise NotApplicable("the noiseless mean is known for simulated data only")
    mean = shared.per_solution("log_mean", lambda: log1p_cp10k(truth.layers["mean"]))
    return _mean_square(_log(output, shared), mean)


def pearson_gene(solution, output, shared):
    return mean_pearson(_log(output, shared), _log_truth(solution, shared), axis=0)


def pearson_cell(solution, output, shared):
    return mean_pearson(_log(output, shared), _log_truth(solution, shared), axis=1)
