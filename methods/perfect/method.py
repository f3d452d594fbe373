"""Ceiling: the hidden values themselves."""

import numpy as np
from scipy import sparse


def denoising(counts, *, seed, solution):
    truth = solution["truth"]
    return truth.X * (truth.uns["train_sum"] / truth.uns["test_sum"])


def modality_prediction(train_source, train_target, test_source, *, seed, solution):
    return solution["truth"].X


rna_prediction = modality_prediction


def modality_matching(train_source, train_target, test_source, test_target, *, seed, solution):
    partner = solution["truth"].obs["match"].to_numpy()
    n = len(partner)
    return sparse.csr_matrix((np.ones(n), (np.arange(n), partner)), shape=(n, n))
