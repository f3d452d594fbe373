"""Denoising: how well denoised training counts foretell the held-out molecules."""

import numpy as np
from scipy import sparse

from dgnbench import NotApplicable
from dgnbench.correlation import mean_pearson
from dgnbench.transforms import log1p_cp10k

EPSILON = 1e-6  # inside the logarithm, as in Open Problems' denoising task


def _dense(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def _log(output, shared):
    return shared.per_run("log", lambda: _dense(log1p_cp10k(output)))


def _log_truth(solution, shared):
    return shared.per_solution("log", lambda: _dense(log1p_cp10k(solution["truth"].X)))


def poisson_nll(solution, output, shared):
    """Open Problems calls its loss with prediction and truth swapped; this is the right order."""
    truth = solution["truth"]
    predicted = output.astype(np.float64) * (truth.uns["test_sum"] / truth.uns["train_sum"])
    held_out = sparse.coo_matrix(truth.X)
    if sparse.issparse(predicted):
        at = np.asarray(sparse.csr_matrix(predicted)[held_out.row, held_out.col]).ravel()
    else:
        at = predicted[held_out.row, held_out.col]
    log_part = (held_out.data.astype(np.float64) * np.log(at + EPSILON)).sum()
    return (predicted.sum() - log_part) / np.prod(truth.shape)


def mse(solution, output, shared):
    return np.mean((_log(output, shared) - _log_truth(solution, shared)) ** 2)


def mse_to_mean(solution, output, shared):
    truth = solution["truth"]
    if "mean" not in truth.layers:
        raise NotApplicable("the noiseless mean is known for simulated data only")
    mean = shared.per_solution("log_mean", lambda: log1p_cp10k(truth.layers["mean"]))
    return np.mean((_log(output, shared) - mean) ** 2)


def pearson_gene(solution, output, shared):
    return mean_pearson(_log(output, shared), _log_truth(solution, shared), axis=0)


def pearson_cell(solution, output, shared):
    return mean_pearson(_log(output, shared), _log_truth(solution, shared), axis=1)
