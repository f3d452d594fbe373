"""Cross-modal prediction: errors and correlations on the declared normalised scale."""

import numpy as np
from scipy import sparse

from dgnbench.correlation import mean_pearson, mean_spearman


def _dense(matrix):
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, dtype=np.float64)


def _pair(solution, output):
    return _dense(output), _dense(solution["truth"].X)


def rmse_skill(solution, output, shared):
    predicted, truth = _pair(solution, output)
    mean = solution["truth"].var["train_mean"].to_numpy()
    return 1 - np.mean((predicted - truth) ** 2) / np.mean((mean - truth) ** 2)


def rmse(solution, output, shared):
    predicted, truth = _pair(solution, output)
    return np.sqrt(np.mean((predicted - truth) ** 2))


def mae(solution, output, shared):
    predicted, truth = _pair(solution, output)
    return np.mean(np.abs(predicted - truth))


def pearson_feature(solution, output, shared):
    return mean_pearson(*_pair(solution, output), axis=0)


def pearson_cell(solution, output, shared):
    return mean_pearson(*_pair(solution, output), axis=1)


def spearman_feature(solution, output, shared):
    return mean_spearman(*_pair(solution, output), axis=0)


def spearman_cell(solution, output, shared):
    return mean_spearman(*_pair(solution, output), axis=1)


def _flat(solution, output):
    return (values.reshape(1, -1) for values in _pair(solution, output))


def pearson(solution, output, shared):
    return mean_pearson(*_flat(solution, output), axis=1)


def spearman(solution, output, shared):
    return mean_spearman(*_flat(solution, output), axis=1)
